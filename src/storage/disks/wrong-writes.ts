/** How many writes were not what they had to be, over all threads. */

/** Words of the shared memory. */
const COUNT = 0;
const HAS_FIRST = 1;
const FIRST_LOW = 2;
const FIRST_HIGH = 3;
const WORDS = 4;

/** See the module's comment. */
export class WrongWrites {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(WORDS * 4)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Modulo 2^32. */
  get count(): number {
    return Atomics.load(this.#words, COUNT) >>> 0;
  }

  /** Byte offset of the one that came first. */
  get firstOffset(): number {
    const words = this.#words;
    return (words[FIRST_HIGH] >>> 0) * 2 ** 32 + (words[FIRST_LOW] >>> 0);
  }

  add(offsetLow: number, offsetHigh: number): void {
    const words = this.#words;
    if (Atomics.exchange(words, HAS_FIRST, 1) === 0) {
      words[FIRST_LOW] = offsetLow;
      words[FIRST_HIGH] = offsetHigh;
    }
    Atomics.add(words, COUNT, 1);
  }
}
