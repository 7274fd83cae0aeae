/** Attempts to reach a back-end again: more and more patiently, until one succeeds. */

/** The longest wait between two attempts. */
const MAX_DELAY_MS = 5000;

export interface ReconnectionOptions {
  /** Wait before the first attempt; each later one waits twice as long, up to 5 s. */
  readonly firstDelayMs: number;
  /** Attempts before giving up; 0: no limit. */
  readonly limit: number;
  /** One attempt. */
  readonly attempt: () => Promise<void>;
  readonly onGiveUp: (lastError: unknown) => void;
}

/** See the module's comment. */
export class Reconnection {
  readonly #options: ReconnectionOptions;
  #timer: NodeJS.Timeout | undefined;
  #attempts = 0;
  #isStopped = false;

  constructor(options: ReconnectionOptions) {
    this.#options = options;
    this.#plan(options.firstDelayMs);
  }

  get attempts(): number {
    return this.#attempts;
  }

  #plan(delayMs: number): void {
    this.#timer = setTimeout(() => void this.#try(delayMs), delayMs);
  }

  async #try(delayMs: number): Promise<void> {
    const { limit, attempt, onGiveUp } = this.#options;
    this.#attempts += 1;
    try {
      await attempt();
    } catch (error) {
      if (this.#isStopped) return;
      if (limit > 0 && this.#attempts >= limit) onGiveUp(error);
      else this.#plan(Math.min(delayMs * 2, MAX_DELAY_MS));
    }
  }

  /** No more attempts. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }
}
