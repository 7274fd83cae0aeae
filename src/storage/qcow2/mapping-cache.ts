/**
 * Slices of L2 tables in memory, a bounded number: what the data path finds its clusters with, so all
 * of it is typed arrays. An entry is two words, the more significant one first.
 */
import type { Layout } from './layout.ts';

/** Memory for entries, as QEMU has it by default: enough for 256 GiB with clusters of 64 KiB. */
const CACHE_BYTES = 32 * 2 ** 20;
const WORDS_PER_ENTRY = 2;

/** Changed entries of a slot. */
export interface DirtyPart {
  readonly slot: number;
  readonly slice: number;
  /** The first entry, counted from the slice's start, and what is to be written from there on. */
  readonly first: number;
  readonly bytes: Buffer;
}

/** See the module's comment. */
export class MappingCache {
  /** By slot and entry, see `place`. */
  readonly words: Int32Array;
  /** By slot and entry: what is known of the entry, see `ClusterStates`; 0: not looked at yet. */
  readonly states: Uint8Array;
  /** By slice: its slot + 1; 0: none. */
  readonly slotOf: Int32Array;
  readonly #layout: Layout;
  readonly #slots: number;
  readonly #sliceOf: Int32Array;
  readonly #pins: Uint32Array;
  /** Since the hand of the clock has last passed. */
  readonly #isUsed: Uint8Array;
  #hand = 0;
  readonly #dirtyFirst: Int32Array;
  readonly #dirtyEnd: Int32Array;
  #dirtySlots = new Set<number>();
  /** Called when a slot is not pinned any more. */
  #onUnpinned: (() => void)[] = [];
  /** Entries that are written at a time, in whole blocks of the file. */
  readonly #unit: number;

  /** @param blockBytes - unit of writing. */
  constructor(layout: Layout, blockBytes: number, cacheBytes: number = CACHE_BYTES) {
    const { entriesPerSlice, sliceBytes, sliceCount } = layout;
    this.#layout = layout;
    this.#slots = Math.min(sliceCount, Math.max(4, Math.floor(cacheBytes / sliceBytes)));
    this.words = new Int32Array(this.#slots * entriesPerSlice * WORDS_PER_ENTRY);
    this.states = new Uint8Array(this.#slots * entriesPerSlice);
    this.slotOf = new Int32Array(sliceCount);
    this.#sliceOf = new Int32Array(this.#slots).fill(-1);
    this.#pins = new Uint32Array(this.#slots);
    this.#isUsed = new Uint8Array(this.#slots);
    this.#dirtyFirst = new Int32Array(this.#slots);
    this.#dirtyEnd = new Int32Array(this.#slots);
    this.#unit = blockBytes / 8;
  }

  /** The slot that a slice is in; -1: none. */
  find(slice: number): number {
    const slot = this.slotOf[slice] - 1;
    if (slot >= 0) this.#isUsed[slot] = 1;
    return slot;
  }

  /** Index of an entry's state; its words are at twice that. */
  place(slot: number, entry: number): number {
    return slot * this.#layout.entriesPerSlice + entry;
  }

  /** Make room for a slice; -1: all there is is changed or in use. */
  #takeSlot(): number {
    for (let looks = 2 * this.#slots; looks > 0; looks--) {
      const slot = this.#hand;
      this.#hand = (slot + 1) % this.#slots;
      if (this.#pins[slot] > 0 || this.#dirtySlots.has(slot)) continue;
      if (this.#isUsed[slot] === 1) {
        this.#isUsed[slot] = 0;
        continue;
      }
      const old = this.#sliceOf[slot];
      if (old >= 0) this.slotOf[old] = 0;
      this.#sliceOf[slot] = -1;
      return slot;
    }
    return -1;
  }

  /** Keep a slice that is not kept yet: its slot, -1 if there is no room. */
  put(slice: number, bytes: Buffer): number {
    const slot = this.#takeSlot();
    if (slot < 0) return -1;
    const { entriesPerSlice } = this.#layout;
    const start = slot * entriesPerSlice;
    const first = start * WORDS_PER_ENTRY;
    for (let index = 0; index < entriesPerSlice * WORDS_PER_ENTRY; index++) {
      this.words[first + index] = bytes.readInt32BE(index * 4);
    }
    this.states.fill(0, start, start + entriesPerSlice);
    this.#sliceOf[slot] = slice;
    this.slotOf[slice] = slot + 1;
    this.#isUsed[slot] = 1;
    return slot;
  }

  /** As long as a slot is pinned, its slice stays in it. */
  pin(slot: number): void {
    this.#pins[slot] += 1;
  }

  unpin(slot: number): void {
    this.#pins[slot] -= 1;
    if (this.#pins[slot] > 0 || this.#onUnpinned.length === 0) return;
    const waiting = this.#onUnpinned;
    this.#onUnpinned = [];
    for (const proceed of waiting) proceed();
  }

  /** Resolves when a slot is not pinned any more that was before. */
  untilUnpinned(): Promise<void> {
    return new Promise((proceed) => this.#onUnpinned.push(proceed));
  }

  /** Change an entry. */
  set(slot: number, entry: number, high: number, low: number): void {
    const place = this.place(slot, entry);
    this.words[place * WORDS_PER_ENTRY] = high;
    this.words[place * WORDS_PER_ENTRY + 1] = low;
    this.states[place] = 0;
    this.#markDirty(slot, entry, entry + 1);
  }

  #markDirty(slot: number, first: number, end: number): void {
    if (!this.#dirtySlots.has(slot)) {
      this.#dirtySlots.add(slot);
      this.#dirtyFirst[slot] = first;
      this.#dirtyEnd[slot] = end;
      return;
    }
    this.#dirtyFirst[slot] = Math.min(this.#dirtyFirst[slot], first);
    this.#dirtyEnd[slot] = Math.max(this.#dirtyEnd[slot], end);
  }

  get isDirty(): boolean {
    return this.#dirtySlots.size > 0;
  }

  /** What is to be written, as it is now. The slots are pinned until `written` or `putBack`. */
  takeDirty(): DirtyPart[] {
    const slots = [...this.#dirtySlots];
    this.#dirtySlots = new Set();
    return slots.map((slot) => {
      this.pin(slot);
      const first = Math.floor(this.#dirtyFirst[slot] / this.#unit) * this.#unit;
      const end = Math.ceil(this.#dirtyEnd[slot] / this.#unit) * this.#unit;
      return { slot, slice: this.#sliceOf[slot], first, bytes: this.#bytesOf(slot, first, end) };
    });
  }

  #bytesOf(slot: number, first: number, end: number): Buffer {
    const bytes = Buffer.allocUnsafe((end - first) * 8);
    const start = this.place(slot, first) * WORDS_PER_ENTRY;
    for (let index = 0; index < (end - first) * WORDS_PER_ENTRY; index++) {
      bytes.writeInt32BE(this.words[start + index], index * 4);
    }
    return bytes;
  }

  written(parts: readonly DirtyPart[]): void {
    for (const { slot } of parts) this.unpin(slot);
  }

  /** Parts have not been written. */
  putBack(parts: readonly DirtyPart[]): void {
    for (const { slot, first, bytes } of parts) {
      this.#markDirty(slot, first, first + bytes.length / 8);
      this.unpin(slot);
    }
  }
}
