/** Slots in the order they came in. Nothing is allocated for a request. */

const NONE = -1;

/** See the module's comment. A slot is in it once at most. */
export class SlotQueue {
  readonly #next: Int32Array;
  #first = NONE;
  #last = NONE;

  /** @param slots - slot numbers are below this. */
  constructor(slots: number) {
    this.#next = new Int32Array(slots);
  }

  get isEmpty(): boolean {
    return this.#first === NONE;
  }

  /** The slot that has waited longest. Only if there is one. */
  get first(): number {
    return this.#first;
  }

  push(slot: number): void {
    this.#next[slot] = NONE;
    if (this.#first === NONE) this.#first = slot;
    else this.#next[this.#last] = slot;
    this.#last = slot;
  }

  /** Take the first one off. Only if there is one. */
  shift(): number {
    const slot = this.#first;
    this.#first = this.#next[slot];
    return slot;
  }
}
