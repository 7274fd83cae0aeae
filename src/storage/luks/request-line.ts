/** Requests in line, by slot number, each at most once. */

/** See the module's comment. */
export class RequestLine {
  readonly #slots: Uint16Array;
  readonly #isIn: Uint8Array;
  #first = 0;
  #count = 0;

  /** @param slots - how many numbers there are. */
  constructor(slots: number) {
    this.#slots = new Uint16Array(slots);
    this.#isIn = new Uint8Array(slots);
  }

  get count(): number {
    return this.#count;
  }

  has(slot: number): boolean {
    return this.#isIn[slot] === 1;
  }

  /** One that is in no line goes to the end. */
  push(slot: number): void {
    this.#slots[(this.#first + this.#count) % this.#slots.length] = slot;
    this.#count += 1;
    this.#isIn[slot] = 1;
  }

  /** The first one leaves. There is one. */
  shift(): number {
    const slot = this.#slots[this.#first];
    this.#first = (this.#first + 1) % this.#slots.length;
    this.#count -= 1;
    this.#isIn[slot] = 0;
    return slot;
  }
}
