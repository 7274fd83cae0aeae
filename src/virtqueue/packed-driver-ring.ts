/**
 * The driver's side of a packed virtqueue (virtio 1.3, 2.8): puts descriptor chains into the
 * descriptor ring, takes used descriptors out of it, and decides about notifications.
 *
 * A chain's head is its buffer ID, which has nothing to do with where it is: chains lie one behind
 * the other, and come back in any order, each as one used descriptor that stands for as many as the
 * chain had. How many that is, is kept here.
 *
 * Ordering is that of `PackedRing`, with the sides exchanged: of all that is committed the flags of
 * the first descriptor are held back until `publish` stores them with an atomic operation, for the
 * device looks at descriptors in order.
 */
import { strict as assert } from 'node:assert';
import {
  BAD_USED,
  type DriverRing,
  type DriverRingOptions,
  type IndirectTables,
  NO_USED,
} from './driver-ring.ts';
import { DESCRIPTOR_BYTES, DescriptorFlag } from './layout.ts';
import {
  advance,
  availableBits,
  EventFlag,
  eventAt,
  eventFlags,
  isEventWanted,
  OWNER_MASK,
  offsetOf,
  PackedWord,
  usedBits,
} from './packed-layout.ts';
import type { RingMemory } from './ring-format.ts';

/** See the module's comment. */
export class PackedDriverRing implements DriverRing {
  readonly size: number;
  usedLength = 0;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  readonly #driverEvent: Int32Array;
  readonly #deviceEvent: Int32Array;
  readonly #eventIdx: boolean;
  readonly #indirect: IndirectTables | undefined;
  /** Buffer IDs not in use: a stack. */
  readonly #freeIds: Uint16Array;
  #freeIdCount: number;
  /** By buffer ID: descriptors of its chain in the ring; 0 if there is none. */
  readonly #chainLength: Uint16Array;
  #freeCount: number;
  #inFlight = 0;
  /** Where the next descriptor goes, and where the next used one will be. */
  #available = 0;
  #used = 0;
  /** Chains not shown; where they begin; and the flags that are held back, with their place. */
  #unpublished = 0;
  #published = 0;
  #heldAt = 0;
  #heldFlags = 0;
  // The chain being made: its ID, where its next descriptor goes, pieces to come, indirect or not.
  #id = 0;
  #cursor = 0;
  #piecesLeft = 0;
  #isIndirect = false;
  #tableAt = 0;

  constructor(memory: RingMemory, options: DriverRingOptions) {
    const { size, descriptors } = memory;
    this.size = size;
    this.#words16 = new Uint16Array(descriptors);
    this.#words32 = new Uint32Array(descriptors);
    this.#driverEvent = new Int32Array(memory.available);
    this.#deviceEvent = new Int32Array(memory.used);
    this.#eventIdx = options.eventIdx;
    this.#indirect = options.indirect;
    // The lowest come first: their tables and slots stay warm.
    this.#freeIds = Uint16Array.from({ length: size }, (_, index) => size - 1 - index);
    this.#freeIdCount = size;
    this.#chainLength = new Uint16Array(size);
    this.#freeCount = size;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  begin(pieces: number): boolean {
    const tables = this.#indirect;
    const isIndirect = tables !== undefined && pieces <= tables.entriesPerTable;
    const needed = isIndirect ? 1 : pieces;
    if (needed > this.#freeCount) return false;
    // There are as many IDs as descriptors, so there is one for a chain that has room.
    const id = this.#freeIds[this.#freeIdCount - 1];
    this.#id = id;
    this.#cursor = this.#available;
    this.#piecesLeft = pieces;
    this.#isIndirect = isIndirect;
    this.#chainLength[id] = needed;
    if (isIndirect) {
      this.#tableAt = id * tables.entriesPerTable * DESCRIPTOR_BYTES;
      const address = tables.address + this.#tableAt;
      const low = address | 0;
      const high = (address / 2 ** 32) | 0;
      this.#write(low, high, pieces * DESCRIPTOR_BYTES, DescriptorFlag.INDIRECT);
    }
    return true;
  }

  add(addressLow: number, addressHigh: number, length: number, isWritable: boolean): void {
    this.#piecesLeft -= 1;
    const write = isWritable ? DescriptorFlag.WRITE : 0;
    if (this.#isIndirect) {
      this.#writeInTable(addressLow, addressHigh, length, write);
      return;
    }
    const next = this.#piecesLeft > 0 ? DescriptorFlag.NEXT : 0;
    this.#write(addressLow, addressHigh, length, write | next);
  }

  /** The next descriptor of the ring. Its flags may have to wait for `publish`. */
  #write(low: number, high: number, length: number, flags: number): void {
    const { size } = this;
    const position = this.#cursor;
    const index = offsetOf(position, size);
    const words = this.#words32;
    const at32 = index * PackedWord.WORDS_32;
    const at16 = index * PackedWord.WORDS_16;
    words[at32] = low;
    words[at32 + 1] = high;
    words[at32 + PackedWord.LENGTH] = length;
    // Only that of the last descriptor counts (2.8.5).
    this.#words16[at16 + PackedWord.ID] = this.#id;
    const all = flags | availableBits(position, size);
    const isFirst = this.#unpublished === 0 && position === this.#available;
    if (isFirst) {
      this.#heldAt = at16 + PackedWord.FLAGS;
      this.#heldFlags = all;
    } else {
      this.#words16[at16 + PackedWord.FLAGS] = all;
    }
    this.#cursor = advance(position, 1, size);
  }

  #writeInTable(low: number, high: number, length: number, flags: number): void {
    const view = this.#indirect?.view;
    const at = this.#tableAt;
    view?.setInt32(at, low, true);
    view?.setInt32(at + 4, high, true);
    view?.setUint32(at + 8, length, true);
    // No links here, and no ID (2.8.7).
    view?.setUint16(at + 12, 0, true);
    view?.setUint16(at + 14, flags, true);
    this.#tableAt = at + DESCRIPTOR_BYTES;
  }

  commit(): number {
    const id = this.#id;
    assert(this.#piecesLeft === 0, 'a chain has the pieces it was begun with');
    this.#freeIdCount -= 1;
    this.#freeCount -= this.#chainLength[id];
    this.#available = this.#cursor;
    this.#inFlight += 1;
    this.#unpublished += 1;
    return id;
  }

  publish(): boolean {
    if (this.#unpublished === 0) return false;
    const before = this.#published;
    this.#unpublished = 0;
    this.#published = this.#available;
    Atomics.store(this.#words16, this.#heldAt, this.#heldFlags);
    const event = Atomics.load(this.#deviceEvent, 0);
    return isEventWanted(event, this.#eventIdx, before, this.#available, this.size);
  }

  usedCount(): number {
    let chains = 0;
    let position = this.#used;
    for (let seen = 0; seen < this.size; chains++) {
      if (!this.#isUsed(position)) break;
      const length = this.#lengthAt(position);
      // `takeUsed` will report it, and there is nothing to be found behind it.
      if (length === 0) return chains + 1;
      position = advance(position, length, this.size);
      seen += length;
    }
    return chains;
  }

  #isUsed(position: number): boolean {
    const { size } = this;
    const at = offsetOf(position, size) * PackedWord.WORDS_16 + PackedWord.FLAGS;
    return (Atomics.load(this.#words16, at) & OWNER_MASK) === usedBits(position, size);
  }

  /** Descriptors of the chain that a used descriptor names; 0: none is under way. */
  #lengthAt(position: number): number {
    const at = offsetOf(position, this.size) * PackedWord.WORDS_16 + PackedWord.ID;
    const id = this.#words16[at];
    return id < this.size ? this.#chainLength[id] : 0;
  }

  takeUsed(): number {
    const { size } = this;
    const position = this.#used;
    const index = offsetOf(position, size);
    const at = index * PackedWord.WORDS_16;
    const flags = Atomics.load(this.#words16, at + PackedWord.FLAGS);
    if ((flags & OWNER_MASK) !== usedBits(position, size)) return NO_USED;
    const id = this.#words16[at + PackedWord.ID];
    const length = id < size ? this.#chainLength[id] : 0;
    if (length === 0) return BAD_USED;
    const written = this.#words32[index * PackedWord.WORDS_32 + PackedWord.LENGTH];
    this.usedLength = (flags & DescriptorFlag.WRITE) === 0 ? 0 : written;
    this.#chainLength[id] = 0;
    this.#freeIds[this.#freeIdCount] = id;
    this.#freeIdCount += 1;
    this.#freeCount += length;
    this.#inFlight -= 1;
    this.#used = advance(position, length, size);
    return id;
  }

  suppressCalls(): void {
    this.#driverEvent[0] = eventFlags(EventFlag.DISABLE);
  }

  /**
   * With EVENT_IDX the device calls at a place in the ring. Chains have at least one descriptor each,
   * so after `after` of them it has come past the place `after` descriptors on, or past it before.
   */
  requestCalls(after = 1): boolean {
    const { size } = this;
    // No more than all descriptors can be used before some are taken.
    const ahead = this.#eventIdx ? Math.min(after, size) - 1 : 0;
    const event = this.#eventIdx
      ? eventAt(advance(this.#used, ahead, size), size)
      : eventFlags(EventFlag.ENABLE);
    Atomics.store(this.#driverEvent, 0, event);
    return !this.#hasPassed(ahead);
  }

  /** Whether the device has used the descriptor so many ahead of the next one to take. */
  #hasPassed(ahead: number): boolean {
    let position = this.#used;
    for (let seen = 0; seen <= ahead; ) {
      if (!this.#isUsed(position)) return false;
      const length = this.#lengthAt(position);
      if (length === 0) return true;
      position = advance(position, length, this.size);
      seen += length;
    }
    return true;
  }
}
