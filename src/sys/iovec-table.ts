/**
 * Scatter-gather lists in native memory, one per request slot.
 *
 * A slot owns `SEGMENTS_PER_SLOT` iovecs (struct iovec: u64 address, u64 length), one 4 KiB page,
 * so untouched slots cost no memory. Numbers are kept as 32-bit halves in an Int32Array: they stay
 * small integers, and nothing is allocated per request.
 *
 * SAFETY: addresses put here are handed to the kernel as they are. They come out of `src/memory/`
 * translation or out of a `Mapping`; the memory behind them stays mapped while a request of the
 * slot is under way.
 */
import { strict as assert } from 'node:assert';
import { libc } from './libc.ts';
import { Mapping } from './mapping.ts';

/** Iovecs a slot holds: two per segment of the largest request (126) and some. */
export const SEGMENTS_PER_SLOT = 256;
/** Bytes of a slot's iovecs. */
const SLOT_BYTES = SEGMENTS_PER_SLOT * 16;
/** Int32 words of a slot's iovecs. */
const SLOT_WORDS = SEGMENTS_PER_SLOT * 4;
/** Most slots of a table. */
export const MAX_SLOTS = 4096;

/** Scatter-gather lists by slot number. */
export class IovecTable implements Disposable {
  readonly slots: number;
  /** Iovecs in use, by slot. */
  readonly count: Uint16Array;
  /** First iovec in use, by slot: moves on when a transfer was short. */
  readonly first: Uint16Array;
  /** All iovecs as words: address low, address high, length low, length high. */
  readonly words: Int32Array;
  readonly #mapping: Mapping;
  readonly #base: number;
  /** Bytes that `advance` has cut off the first iovec in use, by slot. */
  readonly #cutBytes: Uint32Array;

  constructor(slots: number) {
    assert(slots > 0 && slots <= MAX_SLOTS, `${slots} slots`);
    this.slots = slots;
    this.count = new Uint16Array(slots);
    this.first = new Uint16Array(slots);
    this.#cutBytes = new Uint32Array(slots);
    this.#mapping = Mapping.anonymous(slots * SLOT_BYTES);
    this.#base = this.#mapping.address;
    this.words = new Int32Array(this.#mapping.view(0, slots * SLOT_BYTES));
  }

  /** Empty a slot's list. */
  clear(slot: number): void {
    this.count[slot] = 0;
    this.first[slot] = 0;
    this.#cutBytes[slot] = 0;
  }

  /** Append an iovec. Returns false when the slot's list is full. */
  push(slot: number, addressLow: number, addressHigh: number, length: number): boolean {
    const index = this.count[slot];
    if (index >= SEGMENTS_PER_SLOT) return false;
    const at = slot * SLOT_WORDS + index * 4;
    this.words[at] = addressLow;
    this.words[at + 1] = addressHigh;
    this.words[at + 2] = length;
    this.words[at + 3] = 0;
    this.count[slot] = index + 1;
    return true;
  }

  /** Word index of the first iovec in use. */
  firstWord(slot: number): number {
    return slot * SLOT_WORDS + this.first[slot] * 4;
  }

  /** How many iovecs are left from the first one in use. */
  remaining(slot: number): number {
    return this.count[slot] - this.first[slot];
  }

  /** Address of the first iovec in use, as a number. */
  address(slot: number): number {
    return this.#base + slot * SLOT_BYTES + this.first[slot] * 16;
  }

  /** Low half of `address`. */
  addressLow(slot: number): number {
    return (this.#base + slot * SLOT_BYTES + this.first[slot] * 16) | 0;
  }

  /** High half of `address`. */
  addressHigh(slot: number): number {
    return ((this.#base + slot * SLOT_BYTES) / 2 ** 32) | 0;
  }

  /** Drop `bytes` from the front of a slot's list: a transfer was short. */
  advance(slot: number, bytes: number): void {
    let left = bytes;
    while (left > 0 && this.remaining(slot) > 0) {
      const at = this.firstWord(slot);
      const length = this.words[at + 2] >>> 0;
      if (left < length) {
        const low = (this.words[at] >>> 0) + left;
        this.words[at] = low | 0;
        this.words[at + 1] += low >= 2 ** 32 ? 1 : 0;
        this.words[at + 2] = length - left;
        this.#cutBytes[slot] += left;
        return;
      }
      left -= length;
      this.#restoreFirst(slot);
      this.first[slot] += 1;
    }
  }

  /** Make a slot's list again what was pushed, whatever of it has been used up. */
  rewind(slot: number): void {
    if (this.remaining(slot) > 0) this.#restoreFirst(slot);
    this.first[slot] = 0;
  }

  /** Give the first iovec in use back what was cut off it: all before it are whole already. */
  #restoreFirst(slot: number): void {
    const cut = this.#cutBytes[slot];
    if (cut === 0) return;
    this.#cutBytes[slot] = 0;
    const at = this.firstWord(slot);
    const low = (this.words[at] >>> 0) - cut;
    this.words[at] = low | 0;
    this.words[at + 1] -= low < 0 ? 1 : 0;
    this.words[at + 2] += cut;
  }

  /** Copy the next `bytes` of a slot's memory to `target`, an address, and advance. */
  gather(slot: number, target: number, bytes: number): void {
    this.#consume(slot, bytes, (address, at, length) => libc.memcpy(target + at, address, length));
  }

  /** Copy `bytes` from `source`, an address, to the next of a slot's memory, and advance. */
  scatter(slot: number, source: number, bytes: number): void {
    this.#consume(slot, bytes, (address, at, length) => libc.memcpy(address, source + at, length));
  }

  /** Fill the next `bytes` of a slot's memory with zeros, and advance. */
  zero(slot: number, bytes: number): void {
    this.#consume(slot, bytes, (address, _at, length) => libc.memset(address, 0, length));
  }

  #consume(
    slot: number,
    bytes: number,
    each: (address: number, at: number, length: number) => void,
  ): void {
    let done = 0;
    while (done < bytes && this.remaining(slot) > 0) {
      const at = this.firstWord(slot);
      const address = (this.words[at + 1] >>> 0) * 2 ** 32 + (this.words[at] >>> 0);
      const length = Math.min(this.words[at + 2] >>> 0, bytes - done);
      if (length === 0) {
        // Advancing by no bytes would stay here for ever.
        this.first[slot] += 1;
        continue;
      }
      each(address, done, length);
      this.advance(slot, length);
      done += length;
    }
  }

  [Symbol.dispose](): void {
    this.#mapping.close();
  }
}
