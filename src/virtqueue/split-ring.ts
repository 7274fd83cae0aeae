/**
 * The device's side of a split virtqueue: takes heads from the available ring, puts them on the
 * used ring, and decides about notifications.
 *
 * The rings are shared with a driver that may write anything at any time. Each index is read once
 * and checked; nothing that was read is read again. Ordering: `idx` is loaded with an atomic
 * operation before the entries it covers are read, and stored with one after those it covers are
 * written; where a flag decides whether to notify, a store-load barrier lies between (2.7.13): the
 * atomic operations of JavaScript are sequentially consistent, so they are all three.
 */
import type { DirtyLog, GuestMemory } from '../memory/index.ts';
import type { ChainFault, DescriptorChain } from './descriptor-chain.ts';
import type { DeviceRing } from './device-ring.ts';
import {
  AVAIL_NO_INTERRUPT,
  FIRST_AVAILABLE,
  FIRST_USED,
  needsEvent,
  RING_FLAGS,
  RING_IDX,
  USED_NO_NOTIFY,
} from './layout.ts';
import type { RingMemory } from './ring-format.ts';
import type { SplitInflightLog } from './split-inflight-log.ts';

/** Bytes before the first used entry, and of one. */
const USED_HEADER_BYTES = 4;
const USED_ENTRY_BYTES = 8;

/** See the module's comment. */
export class SplitRing implements DeviceRing {
  readonly size: number;
  /** The descriptor table: untrusted, see `DescriptorChain`. */
  readonly descriptors: DataView;
  readonly #available: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #usedEventAt: number;
  readonly #availEventAt: number;
  #lastAvailIdx: number;
  #usedIdx: number;
  #publishedIdx: number;
  #kicksWanted = true;
  readonly #log: SplitInflightLog | undefined;
  /** Heads that an earlier back-end has taken and not answered, and the first not taken again. */
  #unanswered: Uint16Array = new Uint16Array(0);
  #nextUnanswered = 0;
  /** Why the in-flight log is of no use, if it is. */
  readonly fault: string | undefined;
  #dirtyLog: DirtyLog | undefined;
  #dirtyLogAddress = 0;

  /**
   * @param eventIdx - VIRTIO_F_EVENT_IDX was negotiated.
   * @param base - first available entry not yet taken (SET_VRING_BASE). The used index
   * goes on from where the used ring in memory stands.
   * @param log - of requests under way; it knows better which entries have been taken.
   */
  constructor(memory: RingMemory, eventIdx: boolean, base: number, log?: SplitInflightLog) {
    this.size = memory.size;
    this.descriptors = new DataView(memory.descriptors);
    this.#available = new Uint16Array(memory.available);
    this.#used16 = new Uint16Array(memory.used);
    this.#used32 = new Uint32Array(memory.used, 0, FIRST_USED + memory.size * 2);
    this.#mask = memory.size - 1;
    this.#eventIdx = eventIdx;
    this.#usedEventAt = FIRST_AVAILABLE + memory.size;
    this.#availEventAt = FIRST_AVAILABLE + memory.size * 4;
    this.#lastAvailIdx = base;
    this.#usedIdx = this.#used16[RING_IDX];
    this.#publishedIdx = this.#usedIdx;
    this.#log = log;
    const recovery = log?.recover(this.#usedIdx);
    this.fault = recovery?.fault;
    if (recovery === undefined || recovery.isNew || recovery.fault !== undefined) return;
    const { heads } = recovery;
    this.#unanswered = heads;
    // Every entry taken has been used, or is under way.
    this.#lastAvailIdx = (this.#usedIdx + heads.length) & 0xffff;
  }

  setDirtyLog(log: DirtyLog | undefined, address: number): void {
    this.#dirtyLog = log;
    this.#dirtyLogAddress = address;
  }

  /** First available entry not yet taken: the answer to GET_VRING_BASE. */
  get base(): number {
    return this.#lastAvailIdx;
  }

  /** Heads still to be taken that an earlier back-end had taken. They come first. */
  get unansweredCount(): number {
    return this.#unanswered.length - this.#nextUnanswered;
  }

  /** How many heads can be taken; -1 if the driver's index is impossible. */
  availableCount(): number {
    if (this.#nextUnanswered < this.#unanswered.length) return this.unansweredCount;
    const count = (Atomics.load(this.#available, RING_IDX) - this.#lastAvailIdx) & 0xffff;
    return count > this.size ? -1 : count;
  }

  /** Take the next head. The number is the driver's: check it. Only while `availableCount` says. */
  takeHead(): number {
    if (this.#nextUnanswered < this.#unanswered.length) {
      return this.#unanswered[this.#nextUnanswered++];
    }
    const head = this.#available[FIRST_AVAILABLE + (this.#lastAvailIdx & this.#mask)];
    this.#lastAvailIdx = (this.#lastAvailIdx + 1) & 0xffff;
    if (this.#log !== undefined) this.#log.begin(head);
    return head;
  }

  /** Take the next chain: its token is its head. Only while `availableCount` says. */
  takeChain(chain: DescriptorChain, memory: GuestMemory, indirectAllowed: boolean): ChainFault {
    chain.token = this.takeHead();
    return chain.read(this.descriptors, this.size, chain.token, memory, indirectAllowed);
  }

  /** Put a head on the used ring; the driver sees it after `publish`. */
  pushUsed(head: number, writtenBytes: number): void {
    const at = FIRST_USED + (this.#usedIdx & this.#mask) * 2;
    this.#used32[at] = head;
    this.#used32[at + 1] = writtenBytes;
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    if (this.#log !== undefined) this.#log.finish(head);
  }

  /** How many used entries wait for `publish`. */
  get unpublished(): number {
    return (this.#usedIdx - this.#publishedIdx) & 0xffff;
  }

  /**
   * Whether the driver would have to be called for what is unpublished, as far as can be seen now:
   * it is asleep, then, and each call costs a wake-up.
   */
  get wouldCall(): boolean {
    // Plain loads: a hint may be stale, `publish` looks again in the right order.
    if (!this.#eventIdx) return (this.#available[RING_FLAGS] & AVAIL_NO_INTERRUPT) === 0;
    return needsEvent(this.#available[this.#usedEventAt], this.#usedIdx, this.#publishedIdx);
  }

  /** Show the driver all used entries. True if it wants to be called for them. */
  publish(): boolean {
    const before = this.#publishedIdx;
    this.#publishedIdx = this.#usedIdx;
    Atomics.store(this.#used16, RING_IDX, this.#usedIdx);
    // After the store: see `DirtyLog`.
    if (this.#dirtyLog !== undefined) this.#markUsed(before);
    if (this.#log !== undefined) this.#log.commit(this.#usedIdx);
    if (!this.#eventIdx) {
      return (Atomics.load(this.#available, RING_FLAGS) & AVAIL_NO_INTERRUPT) === 0;
    }
    return needsEvent(Atomics.load(this.#available, this.#usedEventAt), this.#usedIdx, before);
  }

  /**
   * The device is about to look for new entries by itself: kicks are a waste. With EVENT_IDX there
   * is nothing to do: the event index stays behind, and the driver kicks only as it passes it.
   */
  suppressKicks(): void {
    if (!this.#kicksWanted) return;
    this.#kicksWanted = false;
    if (this.#eventIdx) return;
    this.#used16[RING_FLAGS] = USED_NO_NOTIFY;
    if (this.#dirtyLog !== undefined) this.#mark(0, USED_HEADER_BYTES);
  }

  /** Ask for a kick at the next entry. False if there are entries already. */
  requestKicks(): boolean {
    this.#kicksWanted = true;
    if (this.#eventIdx) Atomics.store(this.#used16, this.#availEventAt, this.#lastAvailIdx);
    else Atomics.store(this.#used16, RING_FLAGS, 0);
    if (this.#dirtyLog !== undefined) this.#mark(this.#eventIdx ? this.#availEventAt * 2 : 0, 2);
    const isEmpty = Atomics.load(this.#available, RING_IDX) === this.#lastAvailIdx;
    return isEmpty && this.#nextUnanswered === this.#unanswered.length;
  }

  /** Log the used entries from index `before` on, and the index. */
  #markUsed(before: number): void {
    const count = (this.#usedIdx - before) & 0xffff;
    const start = before & this.#mask;
    const untilEnd = Math.min(count, this.size - start);
    this.#mark(0, USED_HEADER_BYTES);
    this.#mark(USED_HEADER_BYTES + start * USED_ENTRY_BYTES, untilEnd * USED_ENTRY_BYTES);
    this.#mark(USED_HEADER_BYTES, (count - untilEnd) * USED_ENTRY_BYTES);
  }

  /** Log a part of the used ring. */
  #mark(offsetBytes: number, lengthBytes: number): void {
    this.#dirtyLog?.markAt(this.#dirtyLogAddress + offsetBytes, lengthBytes);
  }
}
