/**
 * Whether to poll before going to sleep.
 *
 * Waking a sleeping thread costs 20 to 60 us on a virtual machine, so a short wait is better spent
 * looking. Whether the next wait will be short is judged by whether polling has paid: work that
 * arrives within the window earns credit, a window that passes in vain costs some. Without credit
 * the thread sleeps at once, but tries again after some sleeps, twice as many after each try that
 * failed. So a busy queue is polled, a slow one now and then, and an idle one never: idle means one
 * long sleep. (Polling also fails when the driver shares the processor: it cannot run meanwhile.)
 */

const MICROSECONDS_PER_MS = 1000;
/** Windows in vain, in a row, after which polling stops. */
const MAX_CREDIT = 8;
/** Windows granted to a new try. */
const TRIAL_CREDIT = 1;
/** Sleeps before the first new try, and the most there can be before a later one. */
const FIRST_PAUSE_SLEEPS = 2;
const MAX_PAUSE_SLEEPS = 64;
/** Looks between two readings of the clock (a reading costs about as much as two looks). */
const LOOKS_PER_CLOCK = 16;

/** See the module's comment. */
export class PollWindow {
  readonly #maxUs: number;
  #credit: number;
  #pauseSleeps = FIRST_PAUSE_SLEEPS;
  #sleepsToTrial = 0;
  #startedMs = 0;
  #looks = 0;

  /** @param maxUs - how long to poll, in microseconds; 0 for never. */
  constructor(maxUs: number) {
    this.#maxUs = maxUs;
    this.#credit = maxUs > 0 ? TRIAL_CREDIT : 0;
  }

  /** Whether polling currently pays. */
  get isPolling(): boolean {
    return this.#credit > 0;
  }

  /** There was work. */
  worked(): void {
    if (this.#looks === 0) return;
    // It came while polling.
    this.#looks = 0;
    this.#pauseSleeps = FIRST_PAUSE_SLEEPS;
    if (this.#credit < MAX_CREDIT) this.#credit += 1;
  }

  /** After a look that found nothing: whether to look again instead of sleeping. */
  keepPolling(): boolean {
    if (this.#credit === 0) return false;
    const looks = this.#looks;
    this.#looks = looks + 1;
    if (looks % LOOKS_PER_CLOCK !== 0) return true;
    const nowMs = performance.now();
    if (looks === 0) {
      this.#startedMs = nowMs;
      return true;
    }
    if ((nowMs - this.#startedMs) * MICROSECONDS_PER_MS < this.#maxUs) return true;
    this.#inVain();
    return false;
  }

  #inVain(): void {
    this.#looks = 0;
    this.#credit -= 1;
    if (this.#credit > 0) return;
    this.#sleepsToTrial = this.#pauseSleeps;
    this.#pauseSleeps = Math.min(this.#pauseSleeps * 2, MAX_PAUSE_SLEEPS);
  }

  /** About to sleep. */
  sleeping(): void {
    this.#looks = 0;
    if (this.#credit > 0 || this.#maxUs === 0) return;
    this.#sleepsToTrial -= 1;
    if (this.#sleepsToTrial <= 0) this.#credit = TRIAL_CREDIT;
  }
}
