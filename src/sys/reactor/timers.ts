/** Deadlines of a reactor: few at a time, kept sorted. */

/** A timer that has not fired. */
export interface Timer {
  /** Never fire. Harmless after it has. */
  cancel(): void;
}

/** A timer that is set again and again, for data paths: nothing is allocated for that. */
export interface Alarm {
  /** Fire once, `delayMs` from now or a little later, and not when it was to fire before. */
  set(delayMs: number): void;
  /** Do not fire. Harmless if it is not set. */
  cancel(): void;
}

/** Something that has a deadline while it is among the entries. */
interface Entry {
  /** How many deadlines were set before it. */
  number: number;
  deadlineMs: number;
  readonly callback: () => void;
}

/** Timers on the clock of `performance.now()`. Same deadline: in the order they were set. */
export class Timers {
  readonly #entries: Entry[] = [];
  #set = 0;

  /** Call `callback` once when at least `delayMs` have passed. */
  add(delayMs: number, callback: () => void): Timer {
    const entry = { number: 0, deadlineMs: 0, callback };
    this.#insert(entry, delayMs);
    return { cancel: () => this.#remove(entry) };
  }

  /** An alarm that calls `callback` whenever it fires. It is not set. */
  alarm(callback: () => void): Alarm {
    const entry = { number: 0, deadlineMs: 0, callback };
    return {
      set: (delayMs) => {
        this.#remove(entry);
        this.#insert(entry, delayMs);
      },
      cancel: () => this.#remove(entry),
    };
  }

  #insert(entry: Entry, delayMs: number): void {
    entry.number = this.#set;
    entry.deadlineMs = performance.now() + delayMs;
    this.#set += 1;
    const entries = this.#entries;
    let at = entries.length;
    entries.push(entry);
    for (; at > 0 && entries[at - 1].deadlineMs > entry.deadlineMs; at--) {
      entries[at] = entries[at - 1];
    }
    entries[at] = entry;
  }

  #remove(entry: Entry): void {
    const entries = this.#entries;
    const index = entries.indexOf(entry);
    if (index === -1) return;
    for (let at = index + 1; at < entries.length; at++) entries[at - 1] = entries[at];
    entries.pop();
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Time until the next deadline: 0 if it has passed, `Infinity` without timers. */
  msUntilNext(): number {
    if (this.isEmpty) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#entries[0].deadlineMs - performance.now());
  }

  /** Fire what is due. A timer set by a callback fires in the next run at the earliest. */
  run(): boolean {
    const now = performance.now();
    const firstNew = this.#set;
    for (let hasFired = false; ; hasFired = true) {
      // Looked at anew each time: a callback may cancel a later one.
      const entry = this.#entries[0];
      const isDue = entry !== undefined && entry.deadlineMs <= now && entry.number < firstNew;
      if (!isDue) return hasFired;
      this.#remove(entry);
      entry.callback();
    }
  }
}
