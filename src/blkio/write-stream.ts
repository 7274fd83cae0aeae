/** A stream whose bytes go to a device, one after the other. */
import { Writable } from 'node:stream';
import type { Device } from './device.ts';
import { BlkioError } from './errors.ts';

export interface WriteStreamOptions {
  /** Where the first byte goes: a multiple of the device's request alignment. Default: 0. */
  readonly start?: number;
  /** Writes under way at a time. Default: 8. */
  readonly depth?: number;
}

const DEFAULT_DEPTH = 8;
/** Longest write: longer chunks are cut. */
const MAX_WRITE_BYTES = 1024 * 1024;

type Callback = (error?: Error | null) => void;

/**
 * See the module's comment. It finishes when everything is on stable storage. A last piece of less
 * than a block is put into what is there.
 */
export class DeviceWriteStream extends Writable {
  readonly #device: Device;
  readonly #depth: number;
  readonly #alignment: number;
  /** Where the next write goes. */
  #position: number;
  /** Bytes that do not fill a block yet. */
  #rest: Buffer = Buffer.alloc(0);
  #underWay = 0;
  #failure: Error | undefined;
  #onProgress: (() => void) | undefined;

  constructor(device: Device, options: WriteStreamOptions = {}) {
    super();
    const { start = 0, depth = DEFAULT_DEPTH } = options;
    this.#device = device;
    this.#depth = depth;
    this.#alignment = device.requestAlignment;
    this.#position = start;
    if (start % this.#alignment !== 0) {
      throw new BlkioError('EINVAL', `start ${start}: must be a multiple of ${this.#alignment}`);
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#accept(chunk).then(
      () => callback(),
      (error: unknown) => callback(error as Error),
    );
  }

  override _final(callback: Callback): void {
    this.#finish().then(
      () => callback(),
      (error: unknown) => callback(error as Error),
    );
  }

  async #accept(chunk: Buffer): Promise<void> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = bytes.length - (bytes.length % this.#alignment);
    this.#rest = bytes.subarray(whole);
    for (let at = 0; at < whole; at += MAX_WRITE_BYTES) {
      await this.#start(bytes.subarray(at, Math.min(whole, at + MAX_WRITE_BYTES)));
    }
  }

  /** Start a write; returns when another may be started. */
  async #start(bytes: Uint8Array): Promise<void> {
    const offset = this.#position;
    this.#position += bytes.length;
    this.#underWay += 1;
    this.#device.write(offset, bytes).then(
      () => this.#settled(),
      (error: unknown) => {
        this.#failure ??= error as Error;
        this.#settled();
      },
    );
    await this.#untilUnderWay(this.#depth - 1);
  }

  #settled(): void {
    this.#underWay -= 1;
    this.#onProgress?.();
  }

  async #untilUnderWay(count: number): Promise<void> {
    while (this.#underWay > count) {
      await new Promise<void>((resolve) => {
        this.#onProgress = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #finish(): Promise<void> {
    await this.#untilUnderWay(0);
    if (this.#rest.length > 0) {
      const block = Buffer.alloc(this.#alignment);
      await this.#device.read(this.#position, block);
      block.set(this.#rest);
      await this.#device.write(this.#position, block);
    }
    await this.#device.flush();
  }
}
