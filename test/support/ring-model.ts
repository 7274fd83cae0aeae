/**
 * A ring as the specification describes it, without memory or wrapping numbers: lists of chains on
 * their way, and counts that only grow. It says what both sides of the real one must see. A split
 * ring counts chains; a packed one counts descriptors.
 */
import type { RingFormat } from '../../src/virtqueue/index.ts';

/** What a model is of. */
export interface ModelOptions {
  readonly format: RingFormat;
  readonly size: number;
  readonly eventIdx: boolean;
}

/** A chain with what is in it, and how many descriptors of the table it takes. */
export interface ModelChain {
  readonly head: number;
  readonly addresses: readonly number[];
  readonly descriptors: number;
  /** What the device knows it by, once it has taken it. */
  token: number;
  /** Set by the device when it is done with the chain. */
  usedLength: number;
}

/**
 * One side's wish to be told of entries: yes, no, or with EVENT_IDX an index: whoever passes it
 * notifies. A split ring with EVENT_IDX has nothing but the index, which begins with 0.
 */
class Wish {
  readonly #options: ModelOptions;
  #flag = true;
  #index: number | undefined;

  constructor(options: ModelOptions) {
    this.#options = options;
    if (options.eventIdx && options.format === 'split') this.#index = 0;
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
    const { format, eventIdx, size } = this.#options;
    if (!eventIdx) return this.#flag && (format === 'split' || now > before);
    if (format === 'packed' && !this.#flag) return false;
    const index = this.#index;
    if (index === undefined) return now > before;
    // Memory has 16 bits of the index only, or a place and one bit for the lap: so many entries
    // later an old wish is met again.
    const period = format === 'split' ? 65536 : 2 * size;
    return (
      now - before >= period ||
      (period + (index % period) - (before % period)) % period < now - before
    );
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
  /** Chains committed and not taken back. */
  inFlight = 0;
  /** Chains, or descriptors, that have come past a station in all: made, published, taken, used, taken back. */
  committedTotal = 0;
  publishedTotal = 0;
  takenTotal = 0;
  usedTotal = 0;
  takenBackTotal = 0;
  readonly #options: ModelOptions;
  readonly kicks: Wish;
  readonly calls: Wish;

  /** @param cycles - chains, of one descriptor each, that have gone all the way round before. */
  constructor(options: ModelOptions, cycles: number) {
    this.#options = options;
    this.freeDescriptors = options.size;
    this.kicks = new Wish(options);
    this.calls = new Wish(options);
    this.committedTotal = cycles;
    this.publishedTotal = cycles;
    this.takenTotal = cycles;
    this.usedTotal = cycles;
    this.takenBackTotal = cycles;
  }

  #count(...chains: readonly ModelChain[]): number {
    if (this.#options.format === 'split') return chains.length;
    return chains.reduce((sum, { descriptors }) => sum + descriptors, 0);
  }

  commit(chain: ModelChain): void {
    this.committed.push(chain);
    this.committedTotal += this.#count(chain);
    this.inFlight += 1;
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
    this.takenTotal += this.#count(chain);
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
    return this.calls.isMet(this.usedTotal, this.pushedTotal);
  }

  /** As `usedTotal`, with what is not shown yet. */
  get pushedTotal(): number {
    return this.usedTotal + this.#count(...this.pushed);
  }

  publishUsed(): void {
    this.usedTotal = this.pushedTotal;
    this.used.push(...this.pushed);
    this.pushed = [];
  }

  takeBack(): ModelChain | undefined {
    const chain = this.used.shift();
    if (chain === undefined) return undefined;
    this.takenBackTotal += this.#count(chain);
    this.inFlight -= 1;
    this.freeDescriptors += chain.descriptors;
    return chain;
  }
}
