/**
 * Who may write what, among threads: one at a time changes blocks in part, by reading them and
 * writing them again, and nobody else writes those in the meantime. Nothing waits in the thread.
 *
 * A writer counts itself and then looks at the latch; who has taken the latch then looks at the
 * counters. So one of two that meet sees the other. What is guarded are areas of the disk, which
 * share a few counters: at worst somebody waits who need not.
 */

const FREE = 0;
const COUNTER_BITS = 8;
/** Areas by number, from 0 on; those that are so many apart count as the same. */
export const AREAS: number = 1 << COUNTER_BITS;

/** See the module's comment. Each thread makes its own over the same buffer. */
export class SharedLatch {
  readonly buffer: SharedArrayBuffer;
  /** Which areas somebody has taken, then the writers of each area. */
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4 * (1 + AREAS))) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Begin to write whole blocks in one area or two. False: they are being changed in part. */
  enter(first: number, last: number): boolean {
    this.#count(first, last, 1);
    const taken = Atomics.load(this.#words, 0);
    if (taken === FREE) return true;
    const takenFirst = (taken >> COUNTER_BITS) & (AREAS - 1);
    const takenLast = taken & (AREAS - 1);
    const isApart = first !== takenFirst && first !== takenLast;
    if (isApart && last !== takenFirst && last !== takenLast) return true;
    this.#count(first, last, -1);
    return false;
  }

  /** Whole blocks have been written. */
  leave(first: number, last: number): void {
    this.#count(first, last, -1);
  }

  #count(first: number, last: number, by: number): void {
    Atomics.add(this.#words, 1 + first, by);
    if (last !== first) Atomics.add(this.#words, 1 + last, by);
  }

  /** Take it, if nobody has it: from now on nobody begins to write in these areas. */
  take(first: number, last: number): boolean {
    const areas = (1 << (2 * COUNTER_BITS)) | (first << COUNTER_BITS) | last;
    return Atomics.compareExchange(this.#words, 0, FREE, areas) === FREE;
  }

  /** Whoever has taken it: those that began before have ended. */
  isAlone(first: number, last: number): boolean {
    const words = this.#words;
    return Atomics.load(words, 1 + first) === 0 && Atomics.load(words, 1 + last) === 0;
  }

  release(): void {
    Atomics.store(this.#words, 0, FREE);
  }
}
