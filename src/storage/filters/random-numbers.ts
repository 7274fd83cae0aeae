/**
 * Numbers that look random and come again with the same seed: a counter, mixed (splitmix32). Good
 * enough to inject faults with. Nothing is allocated for a number.
 */

const STEP = 0x9e3779b9;

function mix(value: number): number {
  const first = Math.imul(value ^ (value >>> 16), 0x21f0aaad);
  const second = Math.imul(first ^ (first >>> 15), 0x735a2d97);
  return second ^ (second >>> 15);
}

/** See the module's comment. */
export class RandomNumbers {
  #state: number;

  /** @param stream - numbers of different streams have nothing to do with each other. */
  constructor(seed: number, stream = 0) {
    this.#state = mix(mix(seed | 0) + stream);
  }

  /** Whether the next number is less than another. */
  isBelow(limit: number): boolean {
    return this.next() < limit;
  }

  /** At least 0, less than 1. */
  next(): number {
    this.#state = (this.#state + STEP) | 0;
    return (mix(this.#state) >>> 0) / 2 ** 32;
  }
}

/** Numbers the streams of a filter's queues, over all threads. */
export class StreamNumbers {
  readonly buffer: SharedArrayBuffer;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
  }

  next(): number {
    return Atomics.add(new Int32Array(this.buffer), 0, 1);
  }
}
