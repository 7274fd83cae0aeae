/** Deadlines of a reactor: few at a time, kept sorted. */

/** A timer that has not fired. */
export interface Timer {
  /** Never fire. Harmless after it has. */
  cancel(): void;
}

interface Entry {
  readonly deadlineMs: number;
  readonly callback: () => void;
}

/** Timers on the clock of `performance.now()`. Same deadline: in order of creation. */
export class Timers {
  readonly #entries: Entry[] = [];

  /** Call `callback` once when at least `delayMs` have passed. */
  add(delayMs: number, callback: () => void): Timer {
    const entry = { deadlineMs: performance.now() + delayMs, callback };
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
    let due = 0;
    while (due < this.#entries.length && this.#entries[due].deadlineMs <= now) due += 1;
    // Taken out one by one: a callback may cancel a later one.
    const last = this.#entries[due - 1];
    for (let fired = 0; fired < due; fired++) {
      const entry = this.#entries[0];
      if (entry === undefined || entry.deadlineMs > last.deadlineMs) break;
      this.#entries.shift();
      entry.callback();
    }
    return due > 0;
  }
}
