/**
 * A queue of a virtio-blk device, from the driver's side: requests of slots become chains on a ring
 * and completions come back from it. The data path allocates nothing.
 *
 * A slot is on the ring, or waits for room there, or is done. When the back-end is lost, what it has
 * done is taken off the ring. The next one goes on with the ring if it knows what was under way; else
 * `resume` puts the rest on an empty one: every request is done at least once, and reported exactly
 * once.
 */
import {
  DiskFlag,
  DiskOperation,
  type DiskRequestHandler,
  type DiskRequests,
} from '../../../storage/index.ts';
import {
  Errno,
  isSignalled,
  PENDING,
  type PollSource,
  type Reactor,
  signalEvent,
  type Watch,
} from '../../../sys/index.ts';
import { HEADER_BYTES, RANGE_BYTES } from '../../../virtio-blk/index.ts';
import { BAD_USED, createDriverRing, type DriverRing, NO_USED } from '../../../virtqueue/index.ts';
import type { QueueChannel } from '../../driver.ts';
import { ENTRIES_PER_TABLE, type QueueMemory, SlotOffset } from './queue-memory.ts';
import type { QueueUser } from './queue-set.ts';
import { RingFault } from './ring-fault.ts';
import { SlotAreas } from './slot-areas.ts';

/** Where a slot is. */
const Place = { FREE: 0, WAITING: 1, ON_RING: 2 } as const;

/** What a channel is to make use of. */
export interface ChannelFeatures {
  readonly isPolled: boolean;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  /** FLUSH is negotiated: else the device has no volatile cache, and is not to be sent one. */
  readonly canFlush: boolean;
  /** The longest piece the device takes; 0: no limit. */
  readonly maxSegmentLen: number;
  /** Most pieces it takes. */
  readonly maxSegments: number;
}

export interface VirtioBlkChannelOptions extends ChannelFeatures {
  readonly memory: QueueMemory;
  readonly reactor: Reactor;
  readonly requests: DiskRequests;
  readonly handler: DiskRequestHandler;
  /** Whether there is a back-end. */
  readonly isConnected: boolean;
  /** It is the event loop of this thread that connects to a back-end that went away. */
  readonly reconnectsHere: boolean;
  /** Notice the end of the connection that there is now, if that is for this thread to do. */
  readonly watchConnection?: (() => Watch) | undefined;
  /** The back-end has broken the ring, or says so. */
  readonly onBroken: (fault: RingFault) => void;
  readonly onClose: () => void;
}

/** See the module's comment. */
export class VirtioBlkChannel implements QueueChannel, PollSource, QueueUser {
  readonly maxSleepMs: number = Number.POSITIVE_INFINITY;
  readonly memory: QueueMemory;
  readonly #options: VirtioBlkChannelOptions;
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  readonly #maxSegmentLen: number;
  readonly #areas: SlotAreas;
  /** By slot. */
  readonly #place: Uint8Array;
  /** By slot: the write is done, a flush for its FUA is under way. */
  readonly #isFlushing: Uint8Array;
  /** By head: whose chain it is. */
  readonly #slotOfHead: Uint16Array;
  /** Slots in line for the ring, oldest first. */
  #waiting: number[] = [];
  #ring: DriverRing;
  #watches: Watch[] = [];
  #isLost: boolean;
  /** What is on the ring cannot be believed. */
  #isBroken = false;
  /** What every request fails with from now on; 0: none. */
  #failure = 0;
  #needsPublishing = false;

  constructor(options: VirtioBlkChannelOptions) {
    const { memory, reactor, requests } = options;
    this.#options = options;
    this.memory = memory;
    this.#requests = requests;
    this.#handler = options.handler;
    this.#maxSegmentLen = options.maxSegmentLen === 0 ? 2 ** 31 : options.maxSegmentLen;
    this.#areas = new SlotAreas(memory, requests);
    this.#place = new Uint8Array(requests.slots);
    this.#isFlushing = new Uint8Array(requests.slots);
    this.#slotOfHead = new Uint16Array(memory.ring.size);
    this.#ring = this.#newRing();
    reactor.addSource(this);
    this.#isLost = !options.isConnected;
    if (options.isConnected) this.#startWatching();
  }

  /** It is in the thread that asks. */
  get isQuiet(): boolean {
    return this.#isLost;
  }

  get needsEventLoop(): boolean {
    return this.#isLost && this.#failure === 0 && this.#options.reconnectsHere;
  }

  #startWatching(): void {
    const { reactor, isPolled, watchConnection } = this.#options;
    const { call, err } = this.memory.events;
    this.#watches = [reactor.watch(err.number, { onReadable: () => this.#checkErr() })];
    if (watchConnection !== undefined) this.#watches.push(watchConnection());
    if (isPolled) return;
    // Used entries are looked for in every turn: to wake up is all that is wanted.
    this.#watches.push(reactor.watch(call.number, { onReadable: () => {} }));
  }

  #checkErr(): void {
    if (this.#isLost || !isSignalled(this.memory.events.err.number)) return;
    this.#break(RingFault.REPORTED);
  }

  /** Nothing on the ring can be believed any more. */
  #break(fault: RingFault): void {
    this.#isBroken = true;
    this.#options.onBroken(fault);
    this.lose();
  }

  #stopWatching(): void {
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  #newRing(): DriverRing {
    const { memory, eventIdx, indirect, isPolled } = this.#options;
    const tables = {
      view: memory.tables,
      address: memory.tablesAddress,
      entriesPerTable: ENTRIES_PER_TABLE,
    };
    const ring = createDriverRing(memory.format, memory.ring, {
      eventIdx,
      ...(indirect ? { indirect: tables } : {}),
    });
    // Not all back-ends can do without a descriptor to call by: it is there, and hardly used.
    if (isPolled) ring.suppressCalls();
    return ring;
  }

  start(slot: number): number {
    if (this.#failure !== 0) return this.#failure;
    const requests = this.#requests;
    const noFallback = (requests.flags[slot] & DiskFlag.NO_FALLBACK) !== 0;
    // How the device zeroes is not for the driver to know.
    if (noFallback) return -Errno.EOPNOTSUPP;
    // What has been done is stable then (virtio 1.3, 5.2.6.2).
    if (!this.#options.canFlush && requests.operation[slot] === DiskOperation.FLUSH) return 0;
    if (this.#dataPieces(slot) > this.#options.maxSegments) return -Errno.EINVAL;
    if (this.#isLost || this.#waiting.length > 0 || !this.#put(slot)) this.#enqueue(slot);
    return PENDING;
  }

  #enqueue(slot: number): void {
    this.#place[slot] = Place.WAITING;
    this.#waiting.push(slot);
  }

  /** Descriptors the slot's data takes: long pieces are cut. */
  #dataPieces(slot: number): number {
    const { iovecs } = this.#requests;
    const count = iovecs.remaining(slot);
    const max = this.#maxSegmentLen;
    let pieces = 0;
    let at = iovecs.firstWord(slot) + 2;
    for (let left = count; left > 0; left--) {
      const length = iovecs.words[at];
      pieces += length <= max ? 1 : Math.ceil(length / max);
      at += 4;
    }
    return pieces;
  }

  /** Put a slot's chain on the ring. False: there is no room. */
  #put(slot: number): boolean {
    const requests = this.#requests;
    const operation = this.#isFlushing[slot] === 1 ? DiskOperation.FLUSH : requests.operation[slot];
    const isTransfer = operation <= DiskOperation.WRITE;
    const hasRange = operation >= DiskOperation.DISCARD;
    const pieces = 2 + (isTransfer ? this.#dataPieces(slot) : 0) + (hasRange ? 1 : 0);
    const ring = this.#ring;
    if (!ring.begin(pieces)) return false;
    const areas = this.#areas;
    areas.writeHeader(slot, operation);
    const low = areas.addressLow[slot];
    const high = areas.addressHigh[slot];
    ring.add(low + SlotOffset.HEADER, high, HEADER_BYTES, false);
    if (hasRange) {
      areas.writeRange(slot);
      ring.add(low + SlotOffset.RANGE, high, RANGE_BYTES, false);
    }
    if (isTransfer) this.#addData(slot, operation === DiskOperation.READ);
    ring.add(low + SlotOffset.STATUS, high, 1, true);
    this.#slotOfHead[ring.commit()] = slot;
    this.#place[slot] = Place.ON_RING;
    this.#needsPublishing = true;
    return true;
  }

  #add(address: number, length: number, isWritable: boolean): void {
    this.#ring.add(address | 0, (address / 2 ** 32) | 0, length, isWritable);
  }

  #addData(slot: number, isWritable: boolean): void {
    const { iovecs } = this.#requests;
    const { words } = iovecs;
    const max = this.#maxSegmentLen;
    let at = iovecs.firstWord(slot);
    for (let left = iovecs.remaining(slot); left > 0; left--) {
      const length = words[at + 2];
      if (length <= max) {
        this.#ring.add(words[at], words[at + 1], length, isWritable);
      } else {
        const address = (words[at + 1] >>> 0) * 2 ** 32 + (words[at] >>> 0);
        for (let done = 0; done < length; done += max) {
          this.#add(address + done, Math.min(max, length - done), isWritable);
        }
      }
      at += 4;
    }
  }

  /** Show the device what has been put on the ring. */
  flush(): void {
    if (this.#isLost) return;
    this.#putWaiting();
    if (!this.#needsPublishing) return;
    this.#needsPublishing = false;
    if (this.#ring.publish()) signalEvent(this.memory.events.kick.number);
  }

  #putWaiting(): void {
    let done = 0;
    while (done < this.#waiting.length && this.#put(this.#waiting[done])) done += 1;
    if (done > 0) this.#waiting.splice(0, done);
  }

  poll(): boolean {
    if (this.#isLost) return false;
    const taken = this.#takeUsed();
    if (taken === BAD_USED) {
      this.#break(RingFault.UNKNOWN_CHAIN);
      return true;
    }
    if (taken > 0) this.flush();
    return taken > 0;
  }

  /** Finish what the back-end has used. Returns how much that was, or `BAD_USED`. */
  #takeUsed(): number {
    const ring = this.#ring;
    // No more than were there at first: what completes may be followed by new requests.
    const count = ring.usedCount();
    for (let left = count; left > 0; left--) {
      const head = ring.takeUsed();
      if (head === NO_USED) return count - left;
      if (head === BAD_USED || this.#place[this.#slotOfHead[head]] !== Place.ON_RING) {
        return BAD_USED;
      }
      this.#finish(this.#slotOfHead[head]);
    }
    return count;
  }

  #finish(slot: number): void {
    const result = this.#areas.result(slot);
    const mustBeStable = (this.#requests.flags[slot] & DiskFlag.STABLE) !== 0;
    const needsFlush = mustBeStable && this.#options.canFlush;
    if (result === 0 && needsFlush && this.#isFlushing[slot] === 0) {
      this.#isFlushing[slot] = 1;
      if (this.#isLost || !this.#put(slot)) this.#enqueue(slot);
      return;
    }
    this.#isFlushing[slot] = 0;
    this.#place[slot] = Place.FREE;
    this.#handler.onDiskDone(slot, result);
  }

  prepareToSleep(): boolean {
    if (this.#isLost || this.#options.isPolled) return true;
    this.flush();
    return this.#ring.requestCalls();
  }

  /** The back-end is gone: what it has done is done, the rest is for the next one. */
  lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#stopWatching();
    // What cannot be, behind what can, is of no interest any more.
    if (!this.#isBroken) this.#takeUsed();
    // What was watched will not tell any more that there is news.
    this.#options.reactor.requestTurn();
  }

  resume(isSame: boolean): void {
    this.#isLost = false;
    this.#isBroken = false;
    if (!isSame) this.#startAnew();
    this.#startWatching();
    this.flush();
    // It may have been the last one that was kicked, or nobody.
    if (isSame) signalEvent(this.memory.events.kick.number);
  }

  /** The ring is empty: ask again for what was on it. */
  #startAnew(): void {
    this.#ring = this.#newRing();
    // What the last one has written may be lost with it, unless it was flushed: write it again.
    this.#isFlushing.fill(0);
    this.#place.forEach((place, slot) => {
      if (place === Place.ON_RING) this.#enqueue(slot);
    });
  }

  /** Nothing will ever be done any more: complete what is outstanding, and what is to come. */
  fail(result: number): void {
    this.lose();
    this.#failure = result;
    this.#waiting = [];
    this.#place.forEach((place, slot) => {
      if (place === Place.FREE) return;
      this.#place[slot] = Place.FREE;
      this.#isFlushing[slot] = 0;
      this.#handler.onDiskDone(slot, result);
    });
  }

  /** What is outstanding, because the back-end is out of reach, fails. */
  close(): void {
    this.fail(-Errno.ENOTCONN);
    this.#options.reactor.removeSource(this);
    this.#options.onClose();
  }
}
