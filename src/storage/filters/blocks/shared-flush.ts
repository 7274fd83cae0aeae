/** Flushes that several ask for at once: one does for all who asked before it began. */

/** See the module's comment. */
export class SharedFlush {
  readonly #flush: () => Promise<void>;
  #last: Promise<void> = Promise.resolve();
  /** The one that has not begun yet. */
  #next: Promise<void> | undefined;

  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** Resolves when a flush has ended well that began after the call. */
  run(): Promise<void> {
    this.#next ??= this.#after(this.#last);
    return this.#next;
  }

  async #after(last: Promise<void>): Promise<void> {
    await last.catch(() => {});
    if (this.#next !== undefined) this.#last = this.#next;
    this.#next = undefined;
    await this.#flush();
  }
}
