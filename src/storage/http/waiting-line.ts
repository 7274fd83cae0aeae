/** Lets so many go on at a time. Others wait in line, in their order, until they give up. */

/** See the module's comment. */
export class WaitingLine {
  #free: number;
  readonly #waiting = new Set<() => void>();

  /** @param places - how many at a time. */
  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves when there is a place, to be left. Rejects with the signal's reason when it aborts. */
  enter(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#free > 0) {
        this.#free -= 1;
        resolve();
        return;
      }
      const giveUp = (): void => {
        this.#waiting.delete(goOn);
        reject(signal.reason as Error);
      };
      const goOn = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(goOn);
    });
  }

  /** Whoever waits longest gets the place. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
