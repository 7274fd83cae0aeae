/**
 * A device to use from asynchronous code: opened in one go, requests are promises, data can be
 * streamed. Requests take turns on the device's queues.
 */
import type {
  AsyncQueue,
  RequestOptions,
  WriteOptions,
  WriteZeroesOptions,
} from './async-queue.ts';
import { Blkio } from './blkio.ts';
import type { MemoryRegion } from './memory-region.ts';
import type { PropertyValue } from './property-table.ts';
import { DeviceReadStream, type ReadStreamOptions } from './read-stream.ts';
import { DeviceWriteStream, type WriteStreamOptions } from './write-stream.ts';

/** Values of properties by name. Numbers will do for properties of type uint64. */
export type PropertyValues = Readonly<Record<string, PropertyValue>>;

/**
 * Connect to a device and start it.
 *
 * @param driver - see `driverNames`.
 * @param properties - what to set, by libblkio's names; each is set in the state in which it can be.
 * @throws BlkioError as `Blkio` does; nothing is left open then.
 */
export async function openDevice(driver: string, properties: PropertyValues): Promise<Device> {
  const blkio = new Blkio(driver);
  try {
    const isLate = new Map(
      blkio
        .listProperties()
        .map(({ name, writableUntil }) => [name, writableUntil === 'connected']),
    );
    const set = (late: boolean): void => {
      for (const [name, value] of Object.entries(properties)) {
        if ((isLate.get(name) ?? false) === late) blkio.set(name, value);
      }
    };
    set(false);
    await blkio.connect();
    set(true);
    await blkio.start();
    return new Device(blkio);
  } catch (error) {
    blkio.close();
    throw error;
  }
}

/** See the module's comment. */
export class Device implements AsyncDisposable {
  /** States, properties and events of the device. */
  readonly blkio: Blkio;
  readonly #queues: readonly AsyncQueue[];
  #nextQueue = 0;
  #outstanding = 0;
  #onIdle: (() => void) | undefined;
  #isClosed = false;

  /** @param blkio - started, its queues not in use. The device takes it over. */
  constructor(blkio: Blkio) {
    this.blkio = blkio;
    const count = blkio.getTyped('num-queues', 'int');
    this.#queues = Array.from({ length: count }, (_, index) => blkio.asyncQueue(index));
  }

  /** Size in bytes; it may change, see `Blkio`'s events. */
  get capacityBytes(): number {
    return this.blkio.capacityBytes;
  }

  /** Requests so far whose data was copied because it lay outside of mapped regions. */
  get bounced(): number {
    return this.#queues.reduce((sum, { bounced }) => sum + bounced, 0);
  }

  /** Offsets and lengths of requests are multiples of it, in bytes. */
  get requestAlignment(): number {
    return this.blkio.getTyped('request-alignment', 'int');
  }

  /** Fill a buffer. It must not be touched until the promise is settled. */
  read(offsetBytes: number, buffer: Uint8Array, options?: RequestOptions): Promise<void> {
    return this.#count(this.#queue().read(offsetBytes, buffer, options));
  }

  /** Write all of a buffer, which must not change until the promise is settled. */
  write(offsetBytes: number, buffer: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#count(this.#queue().write(offsetBytes, buffer, options));
  }

  /** Fill buffers, one after the other. */
  readv(
    offsetBytes: number,
    buffers: readonly Uint8Array[],
    options?: RequestOptions,
  ): Promise<void> {
    return this.#count(this.#queue().readv(offsetBytes, buffers, options));
  }

  /** Write buffers, one after the other. */
  writev(
    offsetBytes: number,
    buffers: readonly Uint8Array[],
    options?: WriteOptions,
  ): Promise<void> {
    return this.#count(this.#queue().writev(offsetBytes, buffers, options));
  }

  /** Make a range read as zeros. */
  writeZeroes(
    offsetBytes: number,
    lengthBytes: number,
    options?: WriteZeroesOptions,
  ): Promise<void> {
    return this.#count(this.#queue().writeZeroes(offsetBytes, lengthBytes, options));
  }

  /** The data of a range is not needed any more. */
  discard(offsetBytes: number, lengthBytes: number, options?: RequestOptions): Promise<void> {
    return this.#count(this.#queue().discard(offsetBytes, lengthBytes, options));
  }

  /** Make stable what has been written by requests that are done. */
  flush(options?: RequestOptions): Promise<void> {
    return this.#count(this.#queue().flush(options));
  }

  /** Let the device reach a region without copying. */
  mapRegion(region: MemoryRegion): Promise<void> {
    return this.blkio.mapRegion(region);
  }

  /** End that. No request on the region may be outstanding. */
  unmapRegion(region: MemoryRegion): Promise<void> {
    return this.blkio.unmapRegion(region);
  }

  /** A range as a stream, read ahead as far as the reader keeps up. */
  createReadStream(options?: ReadStreamOptions): DeviceReadStream {
    return new DeviceReadStream(this, options);
  }

  /** A stream whose bytes go to the device, several writes at a time; it ends with a flush. */
  createWriteStream(options?: WriteStreamOptions): DeviceWriteStream {
    return new DeviceWriteStream(this, options);
  }

  #queue(): AsyncQueue {
    const queue = this.#queues[this.#nextQueue];
    this.#nextQueue = (this.#nextQueue + 1) % this.#queues.length;
    return queue;
  }

  async #count<Result>(request: Promise<Result>): Promise<Result> {
    this.#outstanding += 1;
    try {
      return await request;
    } finally {
      this.#outstanding -= 1;
      if (this.#outstanding === 0) this.#onIdle?.();
    }
  }

  /** Wait for outstanding requests, then let the device go. What is not flushed is not flushed. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    this.blkio.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
