/**
 * A split ring written by hand, field by field: for drivers that do what `DriverRing` never would.
 */
import { drainEvent, signalEvent } from '../../src/sys/index.ts';
import type { DriverConnection, DriverQueue, GuestBuffer } from '../../src/testing/index.ts';
import { eventually } from './eventually.ts';

/** A descriptor as it lies in memory. */
export interface Descriptor {
  readonly address: number | bigint;
  readonly length: number;
  readonly flags?: number;
  readonly next?: number;
}

/** Descriptor flags. */
export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

const DESCRIPTOR_BYTES = 16;

/** Write a descriptor table. */
export function writeTable(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  descriptors.forEach(({ address, length, flags = 0, next = 0 }, index) => {
    const at = index * DESCRIPTOR_BYTES;
    view.setBigUint64(at, BigInt(address), true);
    view.setUint32(at + 8, length, true);
    view.setUint16(at + 12, flags, true);
    view.setUint16(at + 14, next, true);
  });
}

/** See the module's comment. */
export class HandMadeRing {
  readonly queue: DriverQueue;
  readonly connection: DriverConnection;
  readonly #available: Uint16Array;
  readonly #used: Uint16Array;
  #index = 0;

  constructor(connection: DriverConnection, index = 0) {
    this.connection = connection;
    this.queue = connection.queues[index];
    this.#available = new Uint16Array(this.queue.memory.available);
    this.#used = new Uint16Array(this.queue.memory.used);
  }

  /** Memory for a request: 64 KiB, the first 16 bytes a header. */
  request(type: number, sector: number | bigint, sizeBytes = 65536): GuestBuffer {
    const buffer = this.connection.ram.allocate(sizeBytes, 4096);
    const view = new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset);
    view.setUint32(0, type, true);
    view.setBigUint64(8, BigInt(sector), true);
    return buffer;
  }

  /** Fill the descriptor table from its start. */
  describe(descriptors: readonly Descriptor[]): void {
    writeTable(this.queue.descriptors.bytes, descriptors);
  }

  /** Make heads available and kick. */
  offer(...heads: number[]): void {
    for (const head of heads) {
      this.#available[2 + (this.#index % this.queue.memory.size)] = head;
      this.#index = (this.#index + 1) & 0xffff;
    }
    this.publishIndex(this.#index);
  }

  /** Set the available index to whatever, and kick. */
  publishIndex(index: number): void {
    Atomics.store(this.#available, 1, index & 0xffff);
    signalEvent(this.queue.kick.number);
  }

  /** The device's index of used entries. */
  get usedIndex(): number {
    return Atomics.load(this.#used, 1);
  }

  /** Wait until so many entries have been used. */
  async used(count: number): Promise<void> {
    await eventually(
      () => `${count} requests are answered: ${this.usedIndex}`,
      () => this.usedIndex === (count & 0xffff),
    );
  }

  /** Wait until the device has signalled that the ring is broken. */
  async broken(): Promise<void> {
    const { number } = this.queue.err;
    await eventually('the device signals a broken ring', () => drainEvent(number) > 0);
  }
}
