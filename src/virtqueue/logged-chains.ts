/**
 * Chains of a packed ring as they are taken and used when there is a log of what is under way: first
 * those that an earlier back-end has left, as it has written them down, then those of the ring.
 */
import type { GuestMemory } from '../memory/index.ts';
import { ChainFault, type DescriptorChain, MAX_CHAIN_SEGMENTS } from './descriptor-chain.ts';
import { DESCRIPTOR_BYTES, DescriptorFlag } from './layout.ts';
import type { PackedInflightLog, PackedRecovery } from './packed-inflight-log.ts';
import { availableBits, OWNER_MASK, offsetOf, PackedWord } from './packed-layout.ts';

/** See the module's comment. A chain's token is its first entry in the log. */
export class LoggedChains {
  /** Why the log is of no use, if it is. */
  readonly fault: string | undefined;
  /** An earlier back-end has served the ring. */
  readonly isContinued: boolean;
  /** Position of the next used descriptor, and descriptors of the chains under way, at the start. */
  readonly used: number;
  readonly outstanding: number;
  readonly #size: number;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  readonly #log: PackedInflightLog;
  /** Descriptors of the chain being taken. */
  readonly #copy: Uint32Array;
  readonly #copyView: DataView;
  /** What is left, which chain of it comes next, and where its descriptors are. */
  readonly #left: PackedRecovery;
  #nextLeft = 0;
  #leftAt = 0;

  /** @param used - where used descriptors go on if the log is new. */
  constructor(descriptors: ArrayBuffer, size: number, log: PackedInflightLog, used: number) {
    this.#size = size;
    this.#words16 = new Uint16Array(descriptors);
    this.#words32 = new Uint32Array(descriptors);
    this.#log = log;
    this.#copy = new Uint32Array(Math.min(size, MAX_CHAIN_SEGMENTS) * PackedWord.WORDS_32);
    this.#copyView = new DataView(this.#copy.buffer);
    this.#left = log.recover(used, (position) => this.#isUsed(position));
    this.fault = this.#left.fault;
    this.isContinued = !this.#left.isNew && this.fault === undefined;
    this.used = this.#left.used;
    this.outstanding = this.#left.descriptors.byteLength / DESCRIPTOR_BYTES;
  }

  /** Whether a descriptor under way has made room for a used one, or for what came after that. */
  #isUsed(position: number): boolean {
    const at = offsetOf(position, this.#size) * PackedWord.WORDS_16 + PackedWord.FLAGS;
    return (this.#words16[at] & OWNER_MASK) !== availableBits(position, this.#size);
  }

  /** Chains still to be taken that an earlier back-end had taken. */
  get leftCount(): number {
    return this.#left.chains.length - this.#nextLeft;
  }

  /** Take the next of those. */
  takeLeft(chain: DescriptorChain, memory: GuestMemory, indirectAllowed: boolean): ChainFault {
    const { chains, descriptors } = this.#left;
    const entry = chains[this.#nextLeft];
    const at = this.#leftAt;
    const length = this.#log.lengthOf(entry);
    this.#nextLeft += 1;
    this.#leftAt = at + length;
    chain.token = entry;
    return chain.readPacked(descriptors, this.#size, at, length, memory, indirectAllowed);
  }

  /** Take the chain that begins at `first`, of at most `room` descriptors, and write it down. */
  take(
    chain: DescriptorChain,
    first: number,
    room: number,
    memory: GuestMemory,
    indirectAllowed: boolean,
  ): ChainFault {
    // The ring is read once: what is done is what is written down.
    const count = this.#copyChain(first, Math.min(room, MAX_CHAIN_SEGMENTS));
    const view = this.#copyView;
    const fault = chain.readPacked(view, this.#size, 0, count, memory, indirectAllowed);
    if (fault !== ChainFault.OK) return fault;
    chain.token = this.#log.begin(this.#copy, count, chain.bufferId);
    return fault;
  }

  /** Returns how many descriptors the chain has. */
  #copyChain(first: number, most: number): number {
    const words = this.#words32;
    const copy = this.#copy;
    let index = first;
    let count = 0;
    for (let hasNext = true; hasNext && count < most; count++) {
      const from = index * PackedWord.WORDS_32;
      const to = count * PackedWord.WORDS_32;
      const idAndFlags = words[from + PackedWord.ID_AND_FLAGS];
      copy[to] = words[from];
      copy[to + 1] = words[from + 1];
      copy[to + PackedWord.LENGTH] = words[from + PackedWord.LENGTH];
      copy[to + PackedWord.ID_AND_FLAGS] = idAndFlags;
      hasNext = ((idAndFlags >>> 16) & DescriptorFlag.NEXT) !== 0;
      index = index + 1 === this.#size ? 0 : index + 1;
    }
    return count;
  }

  lengthOf(token: number): number {
    return this.#log.lengthOf(token);
  }

  bufferIdOf(token: number): number {
    return this.#log.bufferIdOf(token);
  }

  /** Store the flags of a used descriptor, which show it to the driver. */
  show(token: number, at: number, flags: number): void {
    this.#log.prepare(token);
    Atomics.store(this.#words16, at, flags);
    this.#log.commit(token);
  }
}
