/** A logger for what somebody else causes: he must not be able to fill the log. */
import type { Logger } from './logger.ts';

/** Warnings that may follow each other at once. */
const BURST = 50;
/** One more each such time, up to a burst again. */
const INTERVAL_MS = 1000;

/**
 * Passes on so many warnings at once, and then one each second; says how many it has left out. All
 * other messages pass.
 */
export class RationedLogger implements Logger {
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  #left = BURST;
  #refilledMs: number;
  #omitted = 0;

  /** @param nowMs - a clock that only goes forward. */
  constructor(logger: Logger, nowMs: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#nowMs = nowMs;
    this.#refilledMs = nowMs();
  }

  debug(message: string): void {
    this.#logger.debug(message);
  }

  info(message: string): void {
    this.#logger.info(message);
  }

  warn(message: string): void {
    this.#refill();
    if (this.#left === 0) {
      this.#omitted += 1;
      return;
    }
    this.#left -= 1;
    this.sayOmitted();
    this.#logger.warn(message);
  }

  error(message: string): void {
    this.#logger.error(message);
  }

  /** Say what has been left out and not said yet: when no more is to come. */
  sayOmitted(): void {
    if (this.#omitted === 0) return;
    this.#logger.warn(`${this.#omitted} more warnings, too many to be logged`);
    this.#omitted = 0;
  }

  #refill(): void {
    const intervals = Math.floor((this.#nowMs() - this.#refilledMs) / INTERVAL_MS);
    this.#refilledMs += intervals * INTERVAL_MS;
    this.#left = Math.min(BURST, this.#left + intervals);
  }
}
