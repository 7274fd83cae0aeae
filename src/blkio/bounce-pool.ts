/**
 * Memory to go through for buffers that a device cannot reach: a part of a region, cut into chunks.
 * Requests wait for memory rather than fail, unless they could never get it. Each queue has a pool
 * of its own: one whose user is not served could keep the others waiting for ever.
 */
import type { MemoryRegion } from './memory-region.ts';

const CHUNK_BYTES = 4096;

/** See the module's comment. */
export class BouncePool {
  readonly #address: number;
  readonly #bytes: Uint8Array;
  readonly #chunks: number;
  /** Chunks in use, by number. */
  readonly #isUsed: Uint8Array;
  /** Where the next search begins. */
  #cursor = 0;

  /** The part of a region from `offsetBytes` on. */
  constructor(region: MemoryRegion, offsetBytes: number, sizeBytes: number) {
    this.#address = region.address + offsetBytes;
    this.#bytes = region.view(offsetBytes, sizeBytes);
    this.#chunks = Math.floor(sizeBytes / CHUNK_BYTES);
    this.#isUsed = new Uint8Array(this.#chunks);
  }

  /** The longest piece there can ever be. */
  get maxBytes(): number {
    return this.#chunks * CHUNK_BYTES;
  }

  /** Take a piece. Returns its offset in the pool, or -1 if there is none now. */
  take(sizeBytes: number): number {
    const wanted = Math.ceil(sizeBytes / CHUNK_BYTES);
    const start = this.#find(wanted, this.#cursor, this.#chunks);
    const found = start >= 0 ? start : this.#find(wanted, 0, this.#chunks);
    if (found < 0) return -1;
    this.#isUsed.fill(1, found, found + wanted);
    this.#cursor = found + wanted;
    return found * CHUNK_BYTES;
  }

  #find(wanted: number, from: number, to: number): number {
    let run = 0;
    for (let at = from; at < to; at++) {
      run = this.#isUsed[at] === 0 ? run + 1 : 0;
      if (run === wanted) return at + 1 - wanted;
    }
    return -1;
  }

  /** Give a piece back. */
  give(offset: number, sizeBytes: number): void {
    const first = offset / CHUNK_BYTES;
    this.#isUsed.fill(0, first, first + Math.ceil(sizeBytes / CHUNK_BYTES));
  }

  /** Address of a piece in this process. */
  addressOf(offset: number): number {
    return this.#address + offset;
  }

  /** Copy buffers into a piece, one after the other. */
  gather(offset: number, buffers: readonly Uint8Array[]): void {
    let at = offset;
    for (const buffer of buffers) {
      this.#bytes.set(buffer, at);
      at += buffer.length;
    }
  }

  /** Copy a piece into buffers. */
  scatter(offset: number, buffers: readonly Uint8Array[]): void {
    let at = offset;
    for (const buffer of buffers) {
      buffer.set(this.#bytes.subarray(at, at + buffer.length));
      at += buffer.length;
    }
  }
}
