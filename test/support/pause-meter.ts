/** Measures how long a load stands still: the longest time without a request that is done. */

const INTERVAL_MS = 1;

/** See the module's comment. */
export class PauseMeter implements Disposable {
  readonly #timer: NodeJS.Timeout;
  readonly #done: () => number;
  #lastDone: number;
  #lastMs = performance.now();
  #longestMs = 0;

  /** @param done - how many requests are done. */
  constructor(done: () => number) {
    this.#done = done;
    this.#lastDone = done();
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS);
  }

  #look(): void {
    const done = this.#done();
    if (done === this.#lastDone) return;
    const nowMs = performance.now();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#lastDone = done;
  }

  /** The longest pause so far, which has ended, in milliseconds; the next call begins anew. */
  take(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
