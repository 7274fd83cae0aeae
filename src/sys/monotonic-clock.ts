/**
 * The time as all threads see it, for data paths: `performance.now()` begins at another moment in
 * each thread, and boxes a number in every call.
 */
import { libc } from './libc.ts';
import { Mapping } from './mapping.ts';

const CLOCK_MONOTONIC = 1;
/** struct timespec: u64 seconds, u64 nanoseconds. */
const TIMESPEC_BYTES = 16;

// SAFETY: of this module, and so of one thread; never closed.
const timespec: Mapping = Mapping.anonymous(TIMESPEC_BYTES);
const words: Int32Array = new Int32Array(timespec.view(0, TIMESPEC_BYTES));
const { address } = timespec;
const { clock_gettime: clockGetTime } = libc;

/** A clock for data paths: what it reads is left in memory, where a number needs no box. */
export interface Clock {
  /** Milliseconds, as of the last `read`. */
  readonly ms: Float64Array;
  read(): void;
}

/** Since some moment in the past, CLOCK_MONOTONIC. */
class MonotonicClock implements Clock {
  readonly ms = new Float64Array(1);

  read(): void {
    clockGetTime(CLOCK_MONOTONIC, address);
    this.ms[0] = words[0] * 1000 + words[2] / 1e6;
  }
}

/** This thread's; all threads' have the same time. */
export const monotonicClock: Clock = new MonotonicClock();

/** What a clock says now, where it does not matter what that costs. */
export function readClock(clock: Clock): number {
  clock.read();
  return clock.ms[0];
}
