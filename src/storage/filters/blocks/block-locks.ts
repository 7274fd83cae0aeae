/**
 * Locks on single blocks. The order of requests keeps those apart that touch the same bytes; filters
 * that handle whole blocks have to keep those apart that touch the same block.
 */

/** See the module's comment. First come, first served. */
export class BlockLocks {
  /** The last in the queue of each block that is locked. */
  readonly #last = new Map<number, Promise<void>>();

  /** Whether nobody has the block. */
  isFree(block: number): boolean {
    return !this.#last.has(block);
  }

  /** Do something while nobody else has the block. */
  async hold<Result>(block: number, action: () => Result | Promise<Result>): Promise<Result> {
    const before = this.#last.get(block);
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#last.set(block, released);
    await before;
    try {
      return await action();
    } finally {
      if (this.#last.get(block) === released) this.#last.delete(block);
      release();
    }
  }
}
