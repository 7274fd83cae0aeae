/**
 * The budget that all channels of a throttle spend from, in all threads: leaky buckets in shared
 * memory, as QEMU has them (docs/throttle.txt there).
 *
 * A request puts its units into the buckets that it counts for, which leak at the average. While a
 * bucket is over-full, nothing is let through. A bucket holds what a tenth of a second of the
 * average is; with a burst rate, what a burst of the given length is, and a second level, which
 * leaks at the burst rate, keeps that from coming all at once.
 *
 * Here a request spends at once and is told when it may start: so who has to wait needs not be woken
 * by others, only by time. Each queue has one such promise at a time for reads and one for writes,
 * which makes queues take turns.
 */
import { SharedMutex } from '../../../sys/index.ts';
import type { Limit } from './throttle-limits.ts';

/** What requests count as. */
export const Direction = { READ: 0, WRITE: 1 } as const;
export const DIRECTIONS = 2;

/** What has room in a bucket without a burst rate, in seconds of its average. */
const SLACK_SECONDS = 0.1;
const BUCKETS = 6;
/** By direction, in the order of `LIMITED`: totals, and its own. */
const BUCKETS_OF: readonly (readonly number[])[] = [
  [0, 1, 3, 4],
  [0, 2, 3, 5],
];
const FIRST_IOPS = 3;
/** In shared memory: level and burst level of each bucket, and when they were those. */
const BURST_LEVELS = BUCKETS;
const AT_MS = 2 * BUCKETS;
const WORDS = AT_MS + 1;

/** A group for another thread. */
export interface ThrottleGroupHandle {
  readonly limits: readonly Limit[];
  readonly iopsSize: number;
  readonly levels: SharedArrayBuffer;
  readonly mutex: SharedArrayBuffer;
}

/** See the module's comment. */
export class ThrottleGroup {
  readonly handle: ThrottleGroupHandle;
  readonly #limits: readonly Limit[];
  readonly #iopsSize: number;
  readonly #levels: Float64Array;
  readonly #mutex: SharedMutex;
  /** Arguments and result of what is done under the mutex: nothing is allocated for a request. */
  #direction = 0;
  #bytes = 0;
  #ms: Float64Array = new Float64Array(1);
  readonly #waitSeconds = new Float64Array(1);

  constructor(handle: ThrottleGroupHandle) {
    this.handle = handle;
    this.#limits = handle.limits;
    this.#iopsSize = handle.iopsSize;
    this.#levels = new Float64Array(handle.levels);
    this.#mutex = new SharedMutex(handle.mutex);
  }

  /** A new group, with empty buckets. */
  static create(limits: readonly Limit[], iopsSize: number): ThrottleGroup {
    const levels = new SharedArrayBuffer(WORDS * Float64Array.BYTES_PER_ELEMENT);
    return new ThrottleGroup({ limits, iopsSize, levels, mutex: new SharedMutex().buffer });
  }

  /** Whether requests of a direction may have to wait. */
  isLimited(direction: number): boolean {
    return BUCKETS_OF[direction].some((bucket) => this.#limits[bucket].average > 0);
  }

  /**
   * Spend for a request.
   *
   * @param ms - the time, on a clock that all threads have in common.
   * @param dueMs - gets, by direction, the time that the request may start at.
   * @returns whether it may start now.
   */
  spend(direction: number, bytes: number, ms: Float64Array, dueMs: Float64Array): boolean {
    this.#direction = direction;
    this.#bytes = bytes;
    this.#ms = ms;
    this.#mutex.run(this.#spend);
    dueMs[direction] = ms[0] + this.#waitSeconds[0] * 1000;
    return this.#waitSeconds[0] === 0;
  }

  readonly #spend = (): void => {
    this.#leak();
    const buckets = BUCKETS_OF[this.#direction];
    let waitSeconds = 0;
    for (let index = 0; index < buckets.length; index++) {
      const bucket = buckets[index];
      if (this.#limits[bucket].average === 0) continue;
      waitSeconds = Math.max(waitSeconds, this.#wait(bucket));
      this.#add(bucket, this.#units(bucket));
    }
    this.#waitSeconds[0] = waitSeconds;
  };

  /** Take back what was spent for a request that was not started after all. */
  refund(direction: number, bytes: number): void {
    this.#direction = direction;
    this.#bytes = bytes;
    this.#mutex.run(this.#refund);
  }

  readonly #refund = (): void => {
    const buckets = BUCKETS_OF[this.#direction];
    for (let index = 0; index < buckets.length; index++) {
      this.#add(buckets[index], -this.#units(buckets[index]));
    }
  };

  #units(bucket: number): number {
    if (bucket < FIRST_IOPS) return this.#bytes;
    const size = this.#iopsSize;
    return size > 0 && this.#bytes > size ? this.#bytes / size : 1;
  }

  #leak(): void {
    const levels = this.#levels;
    const seconds = (this.#ms[0] - levels[AT_MS]) / 1000;
    // Another thread may have looked at its clock later.
    if (seconds <= 0) return;
    levels[AT_MS] = this.#ms[0];
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const { average, max } = this.#limits[bucket];
      levels[bucket] = Math.max(0, levels[bucket] - average * seconds);
      levels[BURST_LEVELS + bucket] = Math.max(0, levels[BURST_LEVELS + bucket] - max * seconds);
    }
  }

  #add(bucket: number, units: number): void {
    const levels = this.#levels;
    levels[bucket] = Math.max(0, levels[bucket] + units);
    levels[BURST_LEVELS + bucket] = Math.max(0, levels[BURST_LEVELS + bucket] + units);
  }

  /** How long a bucket lets nothing through, in seconds. */
  #wait(bucket: number): number {
    const { average, max, maxLength } = this.#limits[bucket];
    const room = max > 0 ? max * maxLength : average * SLACK_SECONDS;
    const wait = Math.max(0, this.#levels[bucket] - room) / average;
    if (maxLength === 1) return wait;
    const burstExcess = this.#levels[BURST_LEVELS + bucket] - max * SLACK_SECONDS;
    return Math.max(wait, burstExcess / max);
  }
}
