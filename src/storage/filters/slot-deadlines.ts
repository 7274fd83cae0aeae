/** Slots with deadlines, by the earliest: a binary heap. Nothing is allocated for a request. */

/** See the module's comment. A slot is in it once at most. */
export class SlotDeadlines {
  readonly #slots: Int32Array;
  /** By slot; to be filled in before one is added. */
  readonly deadlineMs: Float64Array;
  #count = 0;

  /** @param slots - slot numbers are below this. */
  constructor(slots: number) {
    this.#slots = new Int32Array(slots);
    this.deadlineMs = new Float64Array(slots);
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** The earliest deadline; `Infinity` if there is none. */
  get firstMs(): number {
    return this.#count === 0 ? Number.POSITIVE_INFINITY : this.deadlineMs[this.#slots[0]];
  }

  add(slot: number): void {
    const slots = this.#slots;
    const deadlines = this.deadlineMs;
    const deadlineMs = deadlines[slot];
    let at = this.#count;
    this.#count += 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (deadlines[slots[parent]] <= deadlineMs) break;
      slots[at] = slots[parent];
      at = parent;
    }
    slots[at] = slot;
  }

  /** Take the one with the earliest deadline off. Only if there is one. */
  shift(): number {
    const slots = this.#slots;
    const deadlines = this.deadlineMs;
    const first = slots[0];
    this.#count -= 1;
    const moved = slots[this.#count];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#count) break;
      const other = child + 1;
      if (other < this.#count && deadlines[slots[other]] < deadlines[slots[child]]) child = other;
      if (deadlines[slots[child]] >= deadlines[moved]) break;
      slots[at] = slots[child];
      at = child;
    }
    slots[at] = moved;
    return first;
  }
}
