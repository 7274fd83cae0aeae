/**
 * A split ring as the specification describes it, without memory or wrapping numbers: lists of
 * chains on their way, and counts that only grow. It says what both sides of the real one must see.
 */

/** A chain with what is in it, and how many descriptors of the table it takes. */
export interface ModelChain {
  readonly head: number;
  readonly addresses: readonly number[];
  readonly descriptors: number;
  /** Set by the device when it is done with the chain. */
  usedLength: number;
}

/**
 * One side's wish to be told of entries. With EVENT_IDX it is an index: whoever passes it notifies.
 * Without, it is a flag.
 */
class Wish {
  readonly #eventIdx: boolean;
  #flag = true;
  #index = 0;

  constructor(eventIdx: boolean) {
    this.#eventIdx = eventIdx;
  }

  suppress(): void {
    this.#flag = false;
  }

  request(index: number): void {
    this.#flag = true;
    this.#index = index;
  }

  /** Whether entries `before` to `now` - 1 becoming visible calls for a notification. */
  isMet(before: number, now: number): boolean {
    if (!this.#eventIdx) return this.#flag;
    // Memory has 16 bits of the index only: 65536 entries later an old wish is met again.
    for (let entry = before; entry < now; entry++) {
      if (entry % 65536 === this.#index % 65536) return true;
    }
    return false;
  }
}

/** See the module's comment. */
export class RingModel {
  /** The stations of a chain, in order. */
  committed: ModelChain[] = [];
  available: ModelChain[] = [];
  readonly taken: ModelChain[] = [];
  pushed: ModelChain[] = [];
  used: ModelChain[] = [];
  freeDescriptors: number;
  /** Chains that have come past a station in all: made, published, taken, used, taken back. */
  committedTotal = 0;
  publishedTotal = 0;
  takenTotal = 0;
  usedTotal = 0;
  takenBackTotal = 0;
  readonly kicks: Wish;
  readonly calls: Wish;

  /** @param cycles - chains that have gone all the way round before. */
  constructor(size: number, eventIdx: boolean, cycles: number) {
    this.freeDescriptors = size;
    this.kicks = new Wish(eventIdx);
    this.calls = new Wish(eventIdx);
    this.committedTotal = cycles;
    this.publishedTotal = cycles;
    this.takenTotal = cycles;
    this.usedTotal = cycles;
    this.takenBackTotal = cycles;
  }

  commit(chain: ModelChain): void {
    this.committed.push(chain);
    this.committedTotal += 1;
    this.freeDescriptors -= chain.descriptors;
  }

  /** Returns whether the device must be kicked. */
  publishAvailable(): boolean {
    if (this.committed.length === 0) return false;
    const before = this.publishedTotal;
    this.publishedTotal = this.committedTotal;
    this.available.push(...this.committed);
    this.committed = [];
    return this.kicks.isMet(before, this.publishedTotal);
  }

  take(): ModelChain | undefined {
    const chain = this.available.shift();
    if (chain === undefined) return undefined;
    this.takenTotal += 1;
    this.taken.push(chain);
    return chain;
  }

  complete(index: number, usedLength: number): ModelChain {
    const [chain] = this.taken.splice(index, 1);
    chain.usedLength = usedLength;
    this.pushed.push(chain);
    return chain;
  }

  /** Whether publishing now must call the driver. */
  mustCall(): boolean {
    return this.calls.isMet(this.usedTotal, this.usedTotal + this.pushed.length);
  }

  publishUsed(): void {
    this.usedTotal += this.pushed.length;
    this.used.push(...this.pushed);
    this.pushed = [];
  }

  takeBack(): ModelChain | undefined {
    const chain = this.used.shift();
    if (chain === undefined) return undefined;
    this.takenBackTotal += 1;
    this.freeDescriptors += chain.descriptors;
    return chain;
  }
}
