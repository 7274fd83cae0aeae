/**
 * When to call a driver that is asleep.
 *
 * A call costs as much as several requests, so calls should be few. But a driver takes long to wake
 * up, and had better do that while there is something left to serve. So of a batch as much is
 * finished before the call as leaves enough for the time of waking up, at most half of the batch.
 * How long requests take is measured now and then.
 */

/** From a call to the driver's next request, in microseconds, as measured between two processes. */
const WAKE_UP_US = 50;
/** Batches of which one is timed, and the smallest one worth timing. */
const TIMED_BATCHES = 16;
const MIN_TIMED_REQUESTS = 4;
/** Weight of the latest batch in the average. */
const WEIGHT = 0.25;
const MICROSECONDS_PER_MS = 1000;

/** See the module's comment. */
export class CallPacer {
  #requestUs = 1;
  #batches = 0;
  #startedMs = 0;

  /** A batch begins. Returns how many of its requests to finish before a call, at least 1. */
  begin(requests: number): number {
    this.#startedMs = 0;
    if (requests >= MIN_TIMED_REQUESTS) {
      if (this.#batches % TIMED_BATCHES === 0) this.#startedMs = performance.now();
      this.#batches = (this.#batches + 1) | 0;
    }
    const left = WAKE_UP_US / this.#requestUs;
    return Math.max(1, Math.min(requests >> 1, requests - left));
  }

  /** The batch has ended. */
  end(requests: number): void {
    if (this.#startedMs === 0) return;
    const elapsedUs = (performance.now() - this.#startedMs) * MICROSECONDS_PER_MS;
    this.#requestUs += (elapsedUs / requests - this.#requestUs) * WEIGHT;
  }
}
