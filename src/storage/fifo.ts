/** What waits, in the order in which it came. An array's `shift` moves all that is behind. */

/** Entries that have been taken stay until they are so many, and half of all. */
const SPARE_ENTRIES = 1024;

/** See the module's comment. */
export class Fifo<Item> {
  #items: (Item | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** The one that has waited longest. */
  get first(): Item | undefined {
    return this.#items[this.#head];
  }

  /** Take the one that has waited longest. */
  shift(): Item | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.length === 0) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head >= SPARE_ENTRIES && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
