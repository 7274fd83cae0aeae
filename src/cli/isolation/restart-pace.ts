/** How soon to try again what may fail again: at once at first, then later and later. */

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 1000;

/** See the module's comment. */
export class RestartPace {
  #failures = 0;

  /** It has failed. Returns how long to wait before the next attempt. */
  failed(): number {
    this.#failures += 1;
    if (this.#failures === 1) return 0;
    return Math.min(FIRST_DELAY_MS * 2 ** (this.#failures - 2), MAX_DELAY_MS);
  }

  /** It has worked. */
  succeeded(): void {
    this.#failures = 0;
  }
}
