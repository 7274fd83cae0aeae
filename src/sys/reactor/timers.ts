/** Deadlines of a reactor: few at a time, kept sorted. */

/** A timer that has not fired. */
export interface Timer {
  /** Never fire. Harmless after it has. */
  cancel(): void;
}

interface Entry {
  /** How many timers were made before it. */
  readonly number: number;
  readonly deadlineMs: number;
  readonly callback: () => void;
}

/** Timers on the clock of `performance.now()`. Same deadline: in order of creation. */
export class Timers {
  readonly #entries: Entry[] = [];
  #created = 0;

  /** Call `callback` once when at least `delayMs` have passed. */
  add(delayMs: number, callback: () => void): Timer {
    const entry = { number: this.#created, deadlineMs: performance.now() + delayMs, callback };
    this.#created += 1;
    const after = this.#entries.findIndex((other) => other.deadlineMs > entry.deadlineMs);
    this.#entries.splice(after === -1 ? this.#entries.length : after, 0, entry);
    return {
      cancel: () => {
        const index = this.#entries.indexOf(entry);
        if (index !== -1) this.#entries.splice(index, 1);
      },
    };
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Time until the next deadline: 0 if it has passed, `Infinity` without timers. */
  msUntilNext(): number {
    if (this.isEmpty) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#entries[0].deadlineMs - performance.now());
  }

  /** Fire what is due. A timer made by a callback fires in the next run at the earliest. */
  run(): boolean {
    const now = performance.now();
    const firstNew = this.#created;
    for (let hasFired = false; ; hasFired = true) {
      // Looked at anew each time: a callback may cancel a later one.
      const entry = this.#entries[0];
      const isDue = entry !== undefined && entry.deadlineMs <= now && entry.number < firstNew;
      if (!isDue) return hasFired;
      this.#entries.shift();
      entry.callback();
    }
  }
}
