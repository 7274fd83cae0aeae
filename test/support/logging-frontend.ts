/**
 * The side of live migration that a VMM has: lets a back-end log what it writes, fetches the marks,
 * and keeps a copy of the guest's memory up to date with them alone.
 */
import { createMemfd, type Fd, Mapping } from '../../src/sys/index.ts';
import type { DriverConnection, DriverQueue } from '../../src/testing/index.ts';

const PAGE = 4096;
/** VHOST_F_LOG_ALL and VHOST_VRING_F_LOG. */
const LOG_ALL = 1n << 26n;
const VRING_LOG = 1;

/** A part of memory that only the device writes. */
export interface DevicePart {
  readonly guestAddress: number;
  readonly bytes: Uint8Array;
}

/** See the module's comment. */
export class LoggingFrontend implements Disposable {
  readonly #connection: DriverConnection;
  readonly #file: Fd;
  readonly #mapping: Mapping;
  readonly #bits: Uint8Array;

  constructor(connection: DriverConnection) {
    this.#connection = connection;
    const ends = connection.ram.regions.map((region) => region.guestAddress + region.sizeBytes);
    const sizeBytes = Math.ceil(Math.max(...ends) / PAGE / 8);
    this.#file = createMemfd('log', sizeBytes);
    this.#mapping = Mapping.ofFile(this.#file.number, 0, sizeBytes);
    this.#bits = new Uint8Array(this.#mapping.view(0, sizeBytes));
  }

  /** Have everything logged that is written after this has resolved; in QEMU's order. */
  async start(): Promise<void> {
    const { session } = this.#connection;
    const area = { sizeBytes: this.#mapping.sizeBytes, offset: 0 };
    await session.request('SET_LOG_BASE', area, [this.#file]);
    await this.#setFeatures(LOG_ALL);
    for (const queue of this.#connection.queues) await this.#setAddresses(queue, VRING_LOG);
  }

  /** Have nothing logged any more. */
  async stop(): Promise<void> {
    await this.#setFeatures(0n);
    for (const queue of this.#connection.queues) await this.#setAddresses(queue, 0);
  }

  async #setFeatures(more: bigint): Promise<void> {
    const { session, features } = this.#connection;
    await session.request('SET_FEATURES', { value: features | more });
  }

  async #setAddresses(queue: DriverQueue, flags: number): Promise<void> {
    await this.#connection.session.request('SET_VRING_ADDR', {
      ...{ index: queue.index, flags, log: BigInt(queue.used.guestAddress) },
      descriptor: queue.descriptors.userAddress,
      available: queue.available.userAddress,
      used: queue.used.userAddress,
    });
  }

  /** Take all marks, and leave none. Returns the pages, by number, in order. */
  fetch(): number[] {
    const pages: number[] = [];
    for (let byte = 0; byte < this.#bits.length; byte++) {
      if (this.#bits[byte] === 0) continue;
      const marks = Atomics.exchange(this.#bits, byte, 0);
      for (let bit = 0; bit < 8; bit++) if ((marks & (1 << bit)) !== 0) pages.push(byte * 8 + bit);
    }
    return pages;
  }

  [Symbol.dispose](): void {
    this.#mapping.close();
    this.#file[Symbol.dispose]();
  }
}

/** A copy of a part of memory, made page by page while the device writes. */
export class MemoryCopy {
  readonly part: DevicePart;
  readonly #copy: Uint8Array;

  constructor(part: DevicePart) {
    this.part = part;
    this.#copy = new Uint8Array(part.bytes);
  }

  /** Copy again what is marked. */
  update(pages: readonly number[]): void {
    const first = this.part.guestAddress / PAGE;
    for (const page of pages) {
      const start = (page - first) * PAGE;
      if (start < 0 || start >= this.#copy.length) continue;
      this.#copy.set(this.part.bytes.subarray(start, start + PAGE), start);
    }
  }

  /** Pages that differ from the memory as it is now, by number. */
  stalePages(): number[] {
    const pages: number[] = [];
    for (let start = 0; start < this.#copy.length; start += PAGE) {
      const now = Buffer.from(this.part.bytes.slice(start, start + PAGE));
      if (now.compare(this.#copy, start, start + now.length) !== 0) {
        pages.push((this.part.guestAddress + start) / PAGE);
      }
    }
    return pages;
  }
}
