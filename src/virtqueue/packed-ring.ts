/**
 * The device's side of a packed virtqueue (virtio 1.3, 2.8): takes chains from the descriptor ring,
 * puts used descriptors into it, and decides about notifications.
 *
 *     used position          available position
 *          |                         |
 *     -----v-------------------------v-------------------> round the ring, for ever
 *          |<-- taken: #outstanding->|<-- seen: #seenDescriptors -->|
 *
 * Ordering. A driver writes a chain, and the flags of its head last; so they are loaded with an
 * atomic operation before anything else of the chain is read. Likewise used descriptors are written
 * with their flags, but for the first of a batch: the driver looks for them in order, so that it
 * sees none before the flags of the first are stored, with an atomic operation. Before the driver's
 * wish for calls is read, and after the device's own is written, a store-load barrier is needed: the
 * atomic operations of JavaScript are sequentially consistent, so they are all three.
 *
 * Descriptors may change while they are looked at. What `availableCount` sees is a hint of how many
 * chains there are; `takeChain` reads each descriptor once and checks what it has read. That no more
 * is taken than the ring can hold is counted here, and does not depend on flags.
 *
 * With a log of what is under way each used descriptor is shown as it is put into the ring, because
 * the log goes with it; `publish` then only says whether to call for them.
 */
import type { DirtyLog, GuestMemory } from '../memory/index.ts';
import { ChainFault, type DescriptorChain } from './descriptor-chain.ts';
import type { DeviceRing } from './device-ring.ts';
import { DescriptorFlag } from './layout.ts';
import { LoggedChains } from './logged-chains.ts';
import type { PackedInflightLog } from './packed-inflight-log.ts';
import {
  advance,
  availableBits,
  distance,
  EVENT_SUPPRESSION_BYTES,
  EventFlag,
  eventAt,
  eventFlags,
  isEventWanted,
  OWNER_MASK,
  offsetOf,
  PackedWord,
  packedBase,
  positionsOfBase,
  usedBits,
} from './packed-layout.ts';
import type { RingMemory } from './ring-format.ts';

/**
 * A token is the chain's buffer ID, and above it how many descriptors it takes; or with a log, what
 * `LoggedChains` says.
 */
const ID_MASK = 0xffff;
const LENGTH_SHIFT = 16;

/** See the module's comment. */
export class PackedRing implements DeviceRing {
  readonly size: number;
  readonly #descriptors: DataView;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  readonly #driverEvent: Int32Array;
  readonly #deviceEvent: Int32Array;
  readonly #eventIdx: boolean;
  readonly #logged: LoggedChains | undefined;
  /** Where the next chain will be, and where the next used descriptor goes. */
  #available: number;
  #used: number;
  /** Descriptors of chains taken and not used. */
  #outstanding: number;
  /** Chains from `#available` on that were seen to be available, and their descriptors. */
  #seenChains = 0;
  #seenDescriptors = 0;
  /** Used chains not shown; where the first is, in 16-bit words, and its flags, which are held back. */
  #unpublished = 0;
  #heldAt = 0;
  #heldFlags = 0;
  /** Where the first of them is. */
  #published: number;
  #kicksWanted = true;
  readonly #guestAddress: number;
  /** Where to log writes to the ring, if they are to be, and the device area's address there. */
  #dirtyLog: DirtyLog | undefined;
  #dirtyLogAddress = 0;

  /**
   * @param eventIdx - VIRTIO_F_EVENT_IDX was negotiated.
   * @param base - valid for the ring's size: where to go on (SET_VRING_BASE).
   * @param log - of chains under way; it knows better where to go on.
   */
  constructor(memory: RingMemory, eventIdx: boolean, base: number, log?: PackedInflightLog) {
    const { size, descriptors } = memory;
    this.size = size;
    this.#descriptors = new DataView(descriptors);
    this.#words16 = new Uint16Array(descriptors);
    this.#words32 = new Uint32Array(descriptors);
    this.#driverEvent = new Int32Array(memory.available);
    this.#deviceEvent = new Int32Array(memory.used);
    this.#eventIdx = eventIdx;
    this.#guestAddress = memory.descriptorsGuestAddress ?? 0;
    const { available, used } = positionsOfBase(base, size);
    this.#available = available;
    this.#used = used;
    this.#outstanding = distance(used, available, size);
    const logged = log && new LoggedChains(descriptors, size, log, used);
    this.#logged = logged;
    if (logged?.isContinued) {
      this.#used = logged.used;
      // Every chain taken has been used, or is under way.
      this.#outstanding = logged.outstanding;
      this.#available = advance(logged.used, logged.outstanding, size);
    }
    this.#published = this.#used;
  }

  get fault(): string | undefined {
    return this.#logged?.fault;
  }

  get unansweredCount(): number {
    return this.#logged?.leftCount ?? 0;
  }

  setDirtyLog(log: DirtyLog | undefined, address: number): void {
    this.#dirtyLog = log;
    this.#dirtyLogAddress = address;
  }

  get base(): number {
    return packedBase(this.#available, this.#used, this.size);
  }

  availableCount(): number {
    const { unansweredCount } = this;
    if (unansweredCount > 0) return unansweredCount;
    // Beyond that come descriptors that are the device's already, whatever their flags say.
    const room = this.size - this.#outstanding;
    while (this.#seenDescriptors < room) {
      const length = this.#lengthOfChain(this.#seenDescriptors, room);
      if (length === 0) break;
      this.#seenChains += 1;
      this.#seenDescriptors += length;
    }
    return this.#seenChains;
  }

  /** Descriptors of the chain `ahead` of the next one; 0 if it is not available. */
  #lengthOfChain(ahead: number, room: number): number {
    const { size } = this;
    const words = this.#words16;
    const head = advance(this.#available, ahead, size);
    let index = offsetOf(head, size);
    let flags = Atomics.load(words, index * PackedWord.WORDS_16 + PackedWord.FLAGS);
    if ((flags & OWNER_MASK) !== availableBits(head, size)) return 0;
    let length = 1;
    while ((flags & DescriptorFlag.NEXT) !== 0 && ahead + length < room) {
      index = index + 1 === size ? 0 : index + 1;
      flags = words[index * PackedWord.WORDS_16 + PackedWord.FLAGS];
      length += 1;
    }
    return length;
  }

  takeChain(chain: DescriptorChain, memory: GuestMemory, indirectAllowed: boolean): ChainFault {
    const { size } = this;
    const logged = this.#logged;
    if (logged !== undefined && logged.leftCount > 0) {
      return logged.takeLeft(chain, memory, indirectAllowed);
    }
    const first = offsetOf(this.#available, size);
    const room = size - this.#outstanding;
    const fault =
      logged === undefined
        ? chain.readPacked(this.#descriptors, size, first, room, memory, indirectAllowed)
        : logged.take(chain, first, room, memory, indirectAllowed);
    if (fault !== ChainFault.OK) return fault;
    const length = chain.ringDescriptors;
    if (logged === undefined) chain.token = chain.bufferId | (length << LENGTH_SHIFT);
    this.#available = advance(this.#available, length, size);
    this.#outstanding += length;
    this.#seenChains -= 1;
    this.#seenDescriptors -= length;
    if (this.#seenDescriptors < this.#seenChains || this.#seenChains <= 0) {
      // Nothing more was seen; or the driver has changed what was, and it has to be looked at anew.
      this.#seenChains = 0;
      this.#seenDescriptors = 0;
    }
    return fault;
  }

  pushUsed(token: number, writtenBytes: number): void {
    const { size } = this;
    const index = offsetOf(this.#used, size);
    const at = index * PackedWord.WORDS_16;
    const logged = this.#logged;
    const length = logged === undefined ? token >>> LENGTH_SHIFT : logged.lengthOf(token);
    const bufferId = logged === undefined ? token & ID_MASK : logged.bufferIdOf(token);
    // Without WRITE, the length means nothing (2.8.4).
    const written = writtenBytes === 0 ? 0 : DescriptorFlag.WRITE;
    const flags = usedBits(this.#used, size) | written;
    this.#words32[index * PackedWord.WORDS_32 + PackedWord.LENGTH] = writtenBytes;
    this.#words16[at + PackedWord.ID] = bufferId;
    if (logged !== undefined) {
      logged.show(token, at + PackedWord.FLAGS, flags);
    } else if (this.#unpublished === 0) {
      this.#heldAt = at + PackedWord.FLAGS;
      this.#heldFlags = flags;
    } else {
      this.#words16[at + PackedWord.FLAGS] = flags;
    }
    this.#unpublished += 1;
    this.#used = advance(this.#used, length, size);
    this.#outstanding -= length;
  }

  get unpublished(): number {
    return this.#unpublished;
  }

  get wouldCall(): boolean {
    // A plain load: a hint may be stale, `publish` looks again in the right order.
    return this.#unpublished > 0 && this.#wantsCall(this.#driverEvent[0]);
  }

  #wantsCall(event: number): boolean {
    return isEventWanted(event, this.#eventIdx, this.#published, this.#used, this.size);
  }

  publish(): boolean {
    if (this.#unpublished === 0) return false;
    if (this.#logged === undefined) Atomics.store(this.#words16, this.#heldAt, this.#heldFlags);
    // After the store: see `DirtyLog`. All of the ring, which is a page or a few.
    this.#dirtyLog?.markAt(this.#guestAddress, this.#descriptors.byteLength);
    const wantsCall = this.#wantsCall(Atomics.load(this.#driverEvent, 0));
    this.#unpublished = 0;
    this.#published = this.#used;
    return wantsCall;
  }

  suppressKicks(): void {
    if (!this.#kicksWanted) return;
    this.#kicksWanted = false;
    this.#deviceEvent[0] = eventFlags(EventFlag.DISABLE);
    this.#dirtyLog?.markAt(this.#dirtyLogAddress, EVENT_SUPPRESSION_BYTES);
  }

  requestKicks(): boolean {
    const { size } = this;
    this.#kicksWanted = true;
    const event = this.#eventIdx ? eventAt(this.#available, size) : eventFlags(EventFlag.ENABLE);
    Atomics.store(this.#deviceEvent, 0, event);
    this.#dirtyLog?.markAt(this.#dirtyLogAddress, EVENT_SUPPRESSION_BYTES);
    return this.availableCount() === 0;
  }
}
