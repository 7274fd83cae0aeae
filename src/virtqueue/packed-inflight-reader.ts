/**
 * Reads the in-flight log of a packed ring, whoever has written it: a copy is made, and only what
 * fits together in it is believed. Every entry is either on the free list, or belongs to one chain
 * under way; chains have no more descriptors than the ring.
 */
import { headerFault } from './inflight-memory.ts';
import { DescriptorFlag } from './layout.ts';
import {
  entryByte,
  entryWord16,
  entryWord32,
  PackedEntry,
  PackedHeader,
} from './packed-inflight-layout.ts';
import { PackedWord } from './packed-layout.ts';

/** See the module's comment. What it has is valid after a `read` without fault. */
export class PackedLogReader {
  readonly #bytes: Uint8Array;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  readonly #queueSize: number;
  readonly #ringSize: number;
  /** By entry: it has been come across. */
  readonly #isSeen: Uint8Array;
  readonly freeEntries: number[] = [];
  /** First entries of chains under way, oldest first. */
  chains: Uint16Array = new Uint16Array(0);
  /** Their descriptors as in the ring, one chain after the other. */
  descriptors: DataView = new DataView(new ArrayBuffer(0));
  /** The head of the free list, and the used position. */
  freeHead = 0;
  used = 0;
  /** These are the new ones: the driver has seen what was prepared last. */
  isCommitted = false;
  nextCounter = 0;

  constructor(memory: ArrayBuffer, queueSize: number, ringSize: number) {
    const copy = memory.slice(0);
    this.#bytes = new Uint8Array(copy);
    this.#words16 = new Uint16Array(copy);
    this.#words32 = new Uint32Array(copy);
    this.#queueSize = queueSize;
    this.#ringSize = ringSize;
    this.#isSeen = new Uint8Array(queueSize);
  }

  /** 0: nothing has been written yet. */
  get version(): number {
    return this.#words16[PackedHeader.VERSION];
  }

  /** What there is of chains if there are none. */
  get nothing(): { readonly chains: Uint16Array; readonly descriptors: DataView } {
    return { chains: new Uint16Array(0), descriptors: new DataView(new ArrayBuffer(0)) };
  }

  get next(): Uint16Array {
    return Uint16Array.from({ length: this.#queueSize }, (_, entry) => this.#nextOf(entry));
  }

  #nextOf(entry: number): number {
    return this.#words16[entryWord16(entry) + PackedEntry.NEXT];
  }

  lastOf(entry: number): number {
    return this.#words16[entryWord16(entry) + PackedEntry.LAST];
  }

  lengthOf(entry: number): number {
    return this.#words16[entryWord16(entry) + PackedEntry.NUM];
  }

  /** That of a chain's last descriptor (2.8.5). */
  bufferIdOf(entry: number): number {
    return this.#words16[entryWord16(this.lastOf(entry)) + PackedEntry.ID];
  }

  #counterOf(entry: number): number {
    const at = entryWord32(entry) + PackedEntry.COUNTER;
    return this.#words32[at + 1] * 2 ** 32 + this.#words32[at];
  }

  /** Returns what is wrong with the log, if anything. For `isUsed` see `PackedInflightLog`. */
  read(isUsed: (position: number) => boolean): string | undefined {
    const descNum = this.#words16[PackedHeader.DESC_NUM];
    return (
      headerFault(this.version, descNum, this.#queueSize) ??
      this.#readHeader(isUsed) ??
      this.#readFreeList() ??
      this.#readChains()
    );
  }

  #readHeader(isUsed: (position: number) => boolean): string | undefined {
    const words = this.#words16;
    const now = this.#position(PackedHeader.USED_IDX, PackedHeader.USED_WRAP_BYTE);
    const old = this.#position(PackedHeader.OLD_USED_IDX, PackedHeader.OLD_USED_WRAP_BYTE);
    if (now === undefined || old === undefined) return 'has a used position outside of the ring';
    const freeHead = words[PackedHeader.FREE_HEAD];
    if (now !== old) {
      const isUnmarked = freeHead < this.#queueSize && this.#bytes[entryByte(freeHead)] === 0;
      this.isCommitted = isUnmarked || isUsed(old);
    }
    this.used = this.isCommitted ? now : old;
    this.freeHead = this.isCommitted ? freeHead : words[PackedHeader.OLD_FREE_HEAD];
    return undefined;
  }

  #position(wordAt: number, wrapAt: number): number | undefined {
    const index = this.#words16[wordAt];
    const wrap = this.#bytes[wrapAt];
    if (index >= this.#ringSize || wrap > 1) return undefined;
    return wrap === 1 ? index : index + this.#ringSize;
  }

  /** Come across an entry for the only time. */
  #see(entry: number): string | undefined {
    if (entry >= this.#queueSize) return `links to entry ${entry}`;
    if (this.#isSeen[entry] === 1) return `has entry ${entry} twice`;
    this.#isSeen[entry] = 1;
    return undefined;
  }

  #readFreeList(): string | undefined {
    let entry = this.freeHead;
    while (entry !== this.#queueSize) {
      const fault = this.#see(entry);
      if (fault !== undefined) return fault;
      this.freeEntries.push(entry);
      entry = this.#nextOf(entry);
    }
    return undefined;
  }

  #readChains(): string | undefined {
    const found: number[] = [];
    let total = 0;
    for (let entry = 0; entry < this.#queueSize; entry++) {
      const isHead = this.#isSeen[entry] === 0 && this.#bytes[entryByte(entry)] !== 0;
      if (!isHead) continue;
      const fault = this.#readChain(entry);
      if (fault !== undefined) return fault;
      found.push(entry);
      total += this.lengthOf(entry);
      if (total > this.#ringSize) return `has more than the ring's ${this.#ringSize} descriptors`;
    }
    const lost = this.#queueSize - this.freeEntries.length - total;
    if (lost > 0) return `has ${lost} entries that are neither free nor under way`;
    found.sort((a, b) => this.#counterOf(a) - this.#counterOf(b));
    this.chains = Uint16Array.from(found);
    const newest = found.at(-1);
    this.nextCounter = newest === undefined ? 0 : this.#counterOf(newest) + 1;
    this.descriptors = this.#collect(total);
    return undefined;
  }

  #readChain(first: number): string | undefined {
    const length = this.lengthOf(first);
    let entry = first;
    for (let index = 1; ; index++) {
      const fault = this.#see(entry);
      if (fault !== undefined) return fault;
      const flags = this.#words16[entryWord16(entry) + PackedEntry.FLAGS];
      const isLast = (flags & DescriptorFlag.NEXT) === 0;
      if (isLast !== (index === length)) break;
      if (!isLast) {
        entry = this.#nextOf(entry);
        continue;
      }
      if (entry !== this.lastOf(first)) break;
      const bufferId = this.bufferIdOf(first);
      return bufferId < this.#ringSize ? undefined : `has buffer ID ${bufferId}`;
    }
    return `has a chain at entry ${first} that is not one of ${length} descriptors`;
  }

  #collect(total: number): DataView {
    const ring = new Uint32Array(total * PackedWord.WORDS_32);
    let to = 0;
    for (const first of this.chains) {
      let entry = first;
      for (let left = this.lengthOf(first); left > 0; left--) {
        const at = entryWord32(entry);
        ring[to] = this.#words32[at + PackedEntry.ADDRESS];
        ring[to + 1] = this.#words32[at + PackedEntry.ADDRESS + 1];
        ring[to + PackedWord.LENGTH] = this.#words32[at + PackedEntry.LENGTH];
        ring[to + PackedWord.ID_AND_FLAGS] = this.#words32[at + PackedEntry.ID_AND_FLAGS];
        to += PackedWord.WORDS_32;
        entry = this.#nextOf(entry);
      }
    }
    return new DataView(ring.buffer);
  }
}
