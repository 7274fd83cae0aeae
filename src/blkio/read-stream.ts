/** A range of a device as a stream of bytes. */
import { Readable } from 'node:stream';
import type { Device } from './device.ts';
import { BlkioError } from './errors.ts';

export interface ReadStreamOptions {
  /** First byte. Default: 0. */
  readonly start?: number;
  /** Byte behind the last. Default: the end of the device. */
  readonly end?: number;
  /** Bytes of a request, and of a chunk. Default: 256 KiB. */
  readonly chunkBytes?: number;
  /** Requests under way at a time. Default: 8. */
  readonly depth?: number;
}

const DEFAULT_CHUNK_BYTES = 256 * 1024;
const DEFAULT_DEPTH = 8;

/** See the module's comment. Any range will do; requests are aligned as the device wants them. */
export class DeviceReadStream extends Readable {
  readonly #device: Device;
  readonly #end: number;
  readonly #chunkBytes: number;
  readonly #depth: number;
  /** Chunks asked for, in order; `undefined` until they are there. */
  readonly #ahead: { bytes: Buffer | undefined }[] = [];
  #position: number;
  #wantsMore = false;

  constructor(device: Device, options: ReadStreamOptions = {}) {
    const { start = 0, end = device.capacityBytes } = options;
    const { chunkBytes = DEFAULT_CHUNK_BYTES, depth = DEFAULT_DEPTH } = options;
    if (!(start >= 0 && start <= end && end <= device.capacityBytes)) {
      const text = `bytes ${start} to ${end} of a device of ${device.capacityBytes}`;
      throw new BlkioError('EINVAL', text);
    }
    super({ highWaterMark: chunkBytes });
    const alignment = device.requestAlignment;
    this.#device = device;
    this.#position = start;
    this.#end = end;
    this.#chunkBytes = Math.max(alignment, Math.floor(chunkBytes / alignment) * alignment);
    this.#depth = depth;
  }

  override _read(): void {
    this.#wantsMore = true;
    this.#readAhead();
    this.#pushReady();
  }

  #readAhead(): void {
    while (this.#ahead.length < this.#depth && this.#position < this.#end) {
      const alignment = this.#device.requestAlignment;
      const from = Math.floor(this.#position / alignment) * alignment;
      const skip = this.#position - from;
      const until = Math.min(this.#end, from + this.#chunkBytes);
      const length = Math.ceil((until - from) / alignment) * alignment;
      const buffer = Buffer.allocUnsafeSlow(length);
      const chunk: { bytes: Buffer | undefined } = { bytes: undefined };
      this.#ahead.push(chunk);
      this.#position = until;
      this.#device.read(from, buffer).then(
        () => {
          chunk.bytes = buffer.subarray(skip, until - from);
          this.#pushReady();
        },
        (error: unknown) => this.destroy(error as Error),
      );
    }
  }

  #pushReady(): void {
    while (this.#wantsMore && !this.destroyed) {
      const bytes = this.#ahead[0]?.bytes;
      if (bytes === undefined) break;
      this.#ahead.shift();
      this.#wantsMore = this.push(bytes);
      if (this.#wantsMore) this.#readAhead();
    }
    const isDone = this.#ahead.length === 0 && this.#position >= this.#end;
    if (isDone && this.#wantsMore && !this.destroyed) {
      this.#wantsMore = false;
      this.push(null);
    }
  }
}
