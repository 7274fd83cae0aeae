/**
 * What one thread counts, in memory that others read while it does. One writes, so nothing has to be
 * atomic: numbers are whole, but not all of one moment.
 */
import { LATENCY_BUCKETS, LATENCY_TOTALS, LatencyHistogram } from './latency-histogram.ts';

/** In the order of `DiskOperation`. */
export const OPERATIONS = ['read', 'write', 'flush', 'discard', 'writeZeroes'] as const;

/** Numbers of an operation: requests done, their bytes, and requests that failed. */
const REQUESTS = 0;
const BYTES = 1;
const ERRORS = 2;
const NUMBERS = 3;
/** Behind those of all operations. */
const UNDER_WAY = OPERATIONS.length * NUMBERS;
const MAX_DEPTH = UNDER_WAY + 1;
const HEAD_WORDS = MAX_DEPTH + 1;

/** Behind the numbers: for each operation, its histogram. */
const HISTOGRAM_WORDS = LATENCY_BUCKETS + LATENCY_TOTALS;
/** Behind them: whether the thread has let go of it. */
const IS_FREE = HEAD_WORDS + OPERATIONS.length * HISTOGRAM_WORDS;
const WORDS = IS_FREE + 1;

/** See the module's comment. */
export class StatisticsRow {
  readonly buffer: SharedArrayBuffer;
  readonly histograms: readonly LatencyHistogram[];
  readonly #numbers: Float64Array;
  readonly #free: Int32Array;

  /** @param buffer - of another thread's row; without it, a row with nothing counted. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(WORDS * Float64Array.BYTES_PER_ELEMENT);
    const words = new Float64Array(this.buffer);
    this.#numbers = words.subarray(0, HEAD_WORDS);
    this.#free = new Int32Array(this.buffer, IS_FREE * Float64Array.BYTES_PER_ELEMENT, 1);
    this.histograms = OPERATIONS.map((_, operation) => {
      const start = HEAD_WORDS + operation * HISTOGRAM_WORDS;
      const totals = words.subarray(start, start + LATENCY_TOTALS);
      if (buffer === undefined) totals.set(new LatencyHistogram().totals);
      return new LatencyHistogram(
        words.subarray(start + LATENCY_TOTALS, start + HISTOGRAM_WORDS),
        totals,
      );
    });
  }

  /** The thread counts no more: another one may go on with the row. */
  letGo(): void {
    Atomics.store(this.#free, 0, 1);
  }

  /** Take it, if its thread has let go. What has been counted stays. */
  takeIfFree(): boolean {
    return Atomics.exchange(this.#free, 0, 0) === 1;
  }

  /** A request has come. @param depth - how many of its queue are under way, with it. */
  begin(depth: number): void {
    const numbers = this.#numbers;
    numbers[UNDER_WAY] += 1;
    if (depth > numbers[MAX_DEPTH]) numbers[MAX_DEPTH] = depth;
  }

  /** One has been given up. */
  cancel(): void {
    this.#numbers[UNDER_WAY] -= 1;
  }

  fail(operation: number): void {
    this.#numbers[UNDER_WAY] -= 1;
    this.#numbers[operation * NUMBERS + ERRORS] += 1;
  }

  /** @param latenciesUs - of requests by slot. */
  finish(operation: number, bytes: number, latenciesUs: Float64Array, slot: number): void {
    const numbers = this.#numbers;
    numbers[UNDER_WAY] -= 1;
    numbers[operation * NUMBERS + REQUESTS] += 1;
    numbers[operation * NUMBERS + BYTES] += bytes;
    this.histograms[operation].recordAt(latenciesUs, slot);
  }

  requests(operation: number): number {
    return this.#numbers[operation * NUMBERS + REQUESTS];
  }

  bytes(operation: number): number {
    return this.#numbers[operation * NUMBERS + BYTES];
  }

  errors(operation: number): number {
    return this.#numbers[operation * NUMBERS + ERRORS];
  }

  get underWay(): number {
    return this.#numbers[UNDER_WAY];
  }

  get maxDepth(): number {
    return this.#numbers[MAX_DEPTH];
  }
}
