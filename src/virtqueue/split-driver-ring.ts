/**
 * The driver's side of a split virtqueue: puts descriptor chains on the available ring, takes
 * finished ones off the used ring, and decides about notifications (virtio 1.3, 2.7.13, 2.7.14).
 * Links between descriptors are kept here, not read back.
 */
import { strict as assert } from 'node:assert';
import {
  BAD_USED,
  type DriverRing,
  type DriverRingOptions,
  type IndirectTables,
  NO_USED,
} from './driver-ring.ts';
import {
  AVAIL_NO_INTERRUPT,
  DESCRIPTOR_BYTES,
  DescriptorFlag,
  FIRST_AVAILABLE,
  FIRST_USED,
  needsEvent,
  RING_FLAGS,
  RING_IDX,
  USED_NO_NOTIFY,
} from './layout.ts';
import type { RingMemory } from './ring-format.ts';

const END = 0xffff;

/** See the module's comment. */
export class SplitDriverRing implements DriverRing {
  readonly size: number;
  /** Bytes that the device wrote to the chain last taken by `takeUsed`. */
  usedLength = 0;
  readonly #descriptors: DataView;
  readonly #available: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #indirect: IndirectTables | undefined;
  /** Link to the next descriptor of the chain, or of the free list. */
  readonly #next: Uint16Array;
  /** Descriptors of the chain that starts here; 0 if none does. */
  readonly #chainLength: Uint16Array;
  #freeHead = 0;
  #freeCount: number;
  #availIdx = 0;
  #publishedIdx = 0;
  #lastUsedIdx = 0;
  // The chain being made.
  #head = 0;
  #cursor = 0;
  #pieces = 0;
  #lastAt = 0;

  constructor(memory: RingMemory, options: DriverRingOptions) {
    const { size } = memory;
    this.size = size;
    this.#descriptors = new DataView(memory.descriptors);
    this.#available = new Uint16Array(memory.available);
    this.#used16 = new Uint16Array(memory.used);
    this.#used32 = new Uint32Array(memory.used, 0, FIRST_USED + size * 2);
    this.#mask = size - 1;
    this.#eventIdx = options.eventIdx;
    this.#indirect = options.indirect;
    this.#next = Uint16Array.from({ length: size }, (_, index) =>
      index + 1 < size ? index + 1 : END,
    );
    this.#chainLength = new Uint16Array(size);
    this.#freeCount = size;
  }

  /** Descriptors not in use. */
  get freeCount(): number {
    return this.#freeCount;
  }

  /** Chains committed and not yet taken back. */
  get inFlight(): number {
    return (this.#availIdx - this.#lastUsedIdx) & 0xffff;
  }

  /** Start a chain of `pieces` pieces. False if there is no room for it now. */
  begin(pieces: number): boolean {
    const tables = this.#indirect;
    const needed = tables === undefined || pieces > tables.entriesPerTable ? pieces : 1;
    if (needed > this.#freeCount) return false;
    this.#head = this.#freeHead;
    this.#cursor = this.#freeHead;
    this.#pieces = 0;
    if (tables !== undefined && needed === 1) {
      this.#writeIndirect(tables, pieces);
      this.#cursor = 0;
    }
    this.#chainLength[this.#head] = needed;
    return true;
  }

  #writeIndirect(tables: IndirectTables, pieces: number): void {
    const address = tables.address + this.#head * tables.entriesPerTable * DESCRIPTOR_BYTES;
    const low = address | 0;
    const high = (address / 2 ** 32) | 0;
    const at = this.#head * DESCRIPTOR_BYTES;
    writeDescriptor(this.#descriptors, at, low, high, pieces * DESCRIPTOR_BYTES);
    writeFlags(this.#descriptors, at, DescriptorFlag.INDIRECT, 0);
  }

  /** Add a piece: readable ones first. The address is the guest's, in halves. */
  add(addressLow: number, addressHigh: number, length: number, isWritable: boolean): void {
    const isDirect = this.#indirect === undefined || this.#chainLength[this.#head] > 1;
    const flags = DescriptorFlag.NEXT | (isWritable ? DescriptorFlag.WRITE : 0);
    let view = this.#descriptors;
    let at = this.#cursor * DESCRIPTOR_BYTES;
    let next = this.#next[this.#cursor];
    if (!isDirect && this.#indirect !== undefined) {
      view = this.#indirect.view;
      at += this.#head * this.#indirect.entriesPerTable * DESCRIPTOR_BYTES;
      next = this.#cursor + 1;
    }
    writeDescriptor(view, at, addressLow, addressHigh, length);
    writeFlags(view, at, flags, next);
    this.#lastAt = at;
    this.#cursor = next;
    this.#pieces += 1;
  }

  /** End the chain and put it on the available ring. Returns its head. */
  commit(): number {
    const head = this.#head;
    const used = this.#chainLength[head];
    const isDirect = this.#indirect === undefined || used > 1;
    const view = isDirect || this.#indirect === undefined ? this.#descriptors : this.#indirect.view;
    const flags = view.getUint16(this.#lastAt + 12, true);
    view.setUint16(this.#lastAt + 12, flags & ~DescriptorFlag.NEXT, true);
    assert(!isDirect || used === this.#pieces, 'a chain has the pieces it was begun with');
    this.#freeHead = isDirect ? this.#cursor : this.#next[head];
    this.#freeCount -= used;
    this.#available[FIRST_AVAILABLE + (this.#availIdx & this.#mask)] = head;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    return head;
  }

  /** Show the device all committed chains. True if it wants a kick for them. */
  publish(): boolean {
    const before = this.#publishedIdx;
    const now = this.#availIdx;
    if (now === before) return false;
    this.#publishedIdx = now;
    Atomics.store(this.#available, RING_IDX, now);
    if (!this.#eventIdx) return (Atomics.load(this.#used16, RING_FLAGS) & USED_NO_NOTIFY) === 0;
    const availEvent = Atomics.load(this.#used16, FIRST_AVAILABLE + this.size * 4);
    return needsEvent(availEvent, now, before);
  }

  /** How many used entries wait to be taken; more than `inFlight` if the device misbehaves. */
  usedCount(): number {
    return (Atomics.load(this.#used16, RING_IDX) - this.#lastUsedIdx) & 0xffff;
  }

  /** Take the next used entry: its head, `NO_USED` or `BAD_USED`. Sets `usedLength`. */
  takeUsed(): number {
    if (this.usedCount() === 0) return NO_USED;
    const at = FIRST_USED + (this.#lastUsedIdx & this.#mask) * 2;
    const head = this.#used32[at];
    this.usedLength = this.#used32[at + 1];
    if (head >= this.size || this.#chainLength[head] === 0) return BAD_USED;
    this.#lastUsedIdx = (this.#lastUsedIdx + 1) & 0xffff;
    this.#free(head);
    return head;
  }

  #free(head: number): void {
    const length = this.#chainLength[head];
    this.#chainLength[head] = 0;
    let last = head;
    for (let step = 1; step < length; step++) last = this.#next[last];
    this.#next[last] = this.#freeHead;
    this.#freeHead = head;
    this.#freeCount += length;
  }

  /** The driver looks by itself: calls are a waste. */
  suppressCalls(): void {
    if (!this.#eventIdx) this.#available[RING_FLAGS] = AVAIL_NO_INTERRUPT;
  }

  /**
   * Ask for a call once `after` more entries are used. False if that many are there already.
   *
   * @param after - at least 1; more only with EVENT_IDX.
   */
  requestCalls(after = 1): boolean {
    if (this.#eventIdx) {
      const event = (this.#lastUsedIdx + after - 1) & 0xffff;
      Atomics.store(this.#available, FIRST_AVAILABLE + this.size, event);
    } else {
      Atomics.store(this.#available, RING_FLAGS, 0);
    }
    return this.usedCount() < after;
  }
}

function writeDescriptor(
  view: DataView,
  at: number,
  low: number,
  high: number,
  length: number,
): void {
  view.setInt32(at, low, true);
  view.setInt32(at + 4, high, true);
  view.setUint32(at + 8, length, true);
}

function writeFlags(view: DataView, at: number, flags: number, next: number): void {
  view.setUint16(at + 12, flags, true);
  view.setUint16(at + 14, next, true);
}
