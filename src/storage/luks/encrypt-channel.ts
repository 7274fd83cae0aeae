/**
 * The data path of `encrypt`: one queue's requests on an encrypted disk.
 *
 * A request is done in pieces, each in a lane of its own (`bounce-lanes.ts`): the disk below reads
 * and writes a lane's memory, and what is between that and the guest's is encrypted or decrypted on
 * the way. A piece is whole blocks; a write that covers one only in part reads it first. Of those
 * one is under way in the whole process, and no other write of its blocks, or it could write back
 * what another had changed (`shared-latch.ts`).
 *
 *     start -> pieces, as many as there are lanes -> all done -> answered
 *                 |                      ^
 *                 | no lane, or enough   | a lane is free, the next turn
 *                 v                      |
 *              in line ------------------+
 */
import { Errno, IO_ERROR, PENDING, type Reactor, type Timer } from '../../sys/index.ts';
import type { DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskFlag, DiskOperation, type DiskRequests } from '../disk-requests.ts';
import { BounceLanes, LANE_BYTES, LANES, NO_LANE } from './bounce-lanes.ts';
import { IV_UNIT_BYTES } from './cipher-spec.ts';
import { GuestCipher } from './guest-cipher.ts';
import { RequestLine } from './request-line.ts';
import type { SectorCipher } from './sector-cipher.ts';
import { AREAS, type SharedLatch } from './shared-latch.ts';
import type { ZeroPiece } from './zero-piece.ts';

/** Lanes of one request: others get theirs. */
const MAX_LANES_OF_REQUEST = LANES / 4;
/** What one request has started before others, and other queues, get their turn. */
const MAX_BYTES_AT_ONCE = 4 * 2 ** 20;
/** When to look again whether others have done with what is to be written. */
const LATCH_RETRY_MS = 0.05;

/** Requests are multiples of it: smaller blocks are always covered as a whole. */
const SECTOR_BYTES = 512;
const NO_SLOT = -1;

/** What a lane is at. */
const Step = {
  /** A request without data: the disk below does it. */
  PASS: 0,
  READ: 1,
  WRITE: 2,
  /** Of blocks that a write covers only in part. */
  READ_FIRST: 3,
} as const;

/** Where the data is, and what guards its blocks. */
export interface EncryptedData {
  readonly cipher: SectorCipher;
  readonly sectorBytes: number;
  /** What requests of the disk below have to be multiples of, and begin at. */
  readonly blockBytes: number;
  readonly dataOffset: number;
  /** Of the first sector, in units of 512 bytes. */
  readonly firstNumber: number;
  readonly latch: SharedLatch;
  readonly zeros: ZeroPiece;
}

/** See the module's comment. */
export class EncryptChannel implements DiskChannel, DiskRequestHandler {
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  readonly #reactor: Reactor;
  readonly #data: EncryptedData;
  readonly #blockMask: number;
  readonly #guest: GuestCipher;
  readonly #lanes = new BounceLanes();
  readonly #lower: DiskChannel;
  /** Requests with pieces that have not begun and may. */
  readonly #line: RequestLine;
  /** By slot: bytes whose pieces have begun. */
  readonly #begun: Float64Array;
  /** By slot: all pieces have begun, or no more will. */
  readonly #isBegun: Uint8Array;
  /** By slot: lanes in use, and what the first that failed came to. */
  readonly #lanesOf: Uint16Array;
  readonly #result: Int32Array;
  /** By lane: whose piece it has, what it is at, and which part of the request it is. */
  readonly #slot = new Uint16Array(LANES);
  readonly #step = new Uint8Array(LANES);
  readonly #at = new Float64Array(LANES);
  readonly #bytes = new Float64Array(LANES);
  /** By lane: where in its memory the request's part begins, and how long that is. */
  readonly #skip = new Uint32Array(LANES);
  readonly #used = new Uint32Array(LANES);
  /** By lane: the first block's offset in the encrypted disk. */
  readonly #start = new Float64Array(LANES);
  /** By lane: areas of the latch in which it writes. */
  readonly #firstArea = new Uint8Array(LANES);
  readonly #lastArea = new Uint8Array(LANES);
  readonly #isGuarded: boolean;
  /** Who has the latch, and its lane, if those that were writing have ended. */
  #latchedSlot = NO_SLOT;
  #latchedLane = NO_LANE;
  #wakeUp: Timer | undefined;
  #isAbandoning = false;

  /** @param openLower - called once, with the requests and the handler of the disk below. */
  constructor(
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
    data: EncryptedData,
    openLower: (requests: DiskRequests, handler: DiskRequestHandler) => DiskChannel,
  ) {
    this.#reactor = reactor;
    this.#requests = requests;
    this.#handler = handler;
    this.#data = data;
    this.#blockMask = data.blockBytes - 1;
    this.#isGuarded = data.blockBytes > SECTOR_BYTES;
    this.#guest = new GuestCipher(requests, data.cipher, data.sectorBytes);
    this.#line = new RequestLine(requests.slots);
    this.#begun = new Float64Array(requests.slots);
    this.#isBegun = new Uint8Array(requests.slots);
    this.#lanesOf = new Uint16Array(requests.slots);
    this.#result = new Int32Array(requests.slots);
    try {
      this.#lower = openLower(this.#lanes.below, this);
    } catch (error) {
      this.#lanes[Symbol.dispose]();
      data.cipher.close();
      throw error;
    }
  }

  start(slot: number): number {
    const requests = this.#requests;
    this.#begun[slot] = 0;
    this.#isBegun[slot] = 0;
    this.#lanesOf[slot] = 0;
    this.#result[slot] = 0;
    const isZeroing = requests.operation[slot] === DiskOperation.WRITE_ZEROES;
    if (isZeroing && (requests.flags[slot] & DiskFlag.NO_FALLBACK) !== 0) return -Errno.EOPNOTSUPP;
    if (this.#line.count === 0) return this.#goOn(slot);
    this.#line.push(slot);
    return PENDING;
  }

  /** Begin pieces of a request that is not in line. Returns its result, or `PENDING`. */
  #goOn(slot: number): number {
    if (this.#isAbandoning && this.#isBegun[slot] === 0) this.#giveUp(slot, -Errno.ECANCELED);
    const limit = this.#begun[slot] + MAX_BYTES_AT_ONCE;
    while (this.#isBegun[slot] === 0) {
      // The end of one of its pieces brings it back.
      if (this.#lanesOf[slot] === MAX_LANES_OF_REQUEST) return PENDING;
      if (this.#begun[slot] >= limit) return this.#wait(slot, 0);
      const lane = this.#lanes.take();
      if (lane === NO_LANE) {
        this.#line.push(slot);
        return PENDING;
      }
      if (!this.#begin(slot, lane)) {
        this.#lanes.release(lane);
        return this.#wait(slot, LATCH_RETRY_MS);
      }
    }
    return this.#lanesOf[slot] === 0 ? this.#result[slot] : PENDING;
  }

  /** No more pieces: the request has failed. The first reason counts. */
  #giveUp(slot: number, result: number): void {
    this.#isBegun[slot] = 1;
    if (this.#result[slot] === 0) this.#result[slot] = result;
    if (slot === this.#latchedSlot && this.#latchedLane === NO_LANE) this.#releaseLatch();
  }

  #wait(slot: number, delayMs: number): number {
    this.#line.push(slot);
    this.#wake(delayMs);
    return PENDING;
  }

  #wake(delayMs: number): void {
    this.#wakeUp ??= this.#reactor.after(delayMs, () => {
      this.#wakeUp = undefined;
      this.#serveLine();
    });
  }

  /** Begin the next piece of a request. False: others are writing its blocks, or have the latch. */
  #begin(slot: number, lane: number): boolean {
    const operation = this.#requests.operation[slot];
    const isPassed = operation === DiskOperation.FLUSH || operation === DiskOperation.DISCARD;
    if (isPassed) this.#preparePass(slot, lane, operation);
    else if (!this.#preparePiece(slot, lane, operation)) return false;
    this.#slot[lane] = slot;
    this.#lanesOf[slot] += 1;
    this.#run(lane);
    return true;
  }

  #preparePass(slot: number, lane: number, operation: number): void {
    const requests = this.#requests;
    const isFlush = operation === DiskOperation.FLUSH;
    const offset = isFlush ? 0 : this.#data.dataOffset + requests.offsetBytes(slot);
    const length = requests.lengthBytes[slot];
    this.#lanes.order(lane, operation, requests.flags[slot], offset, length);
    this.#step[lane] = Step.PASS;
    this.#isBegun[slot] = 1;
  }

  #preparePiece(slot: number, lane: number, operation: number): boolean {
    const requests = this.#requests;
    const begun = this.#begun[slot];
    const length = requests.lengthBytes[slot];
    const offset = requests.offsetBytes(slot) + begun;
    const skip = (offset >>> 0) & this.#blockMask;
    const used = Math.min(length - begun, LANE_BYTES - skip);
    const bytes = (skip + used + this.#blockMask) & ~this.#blockMask;
    const isRead = operation === DiskOperation.READ;
    const isPartial = used !== bytes;
    const start = offset - skip;
    this.#firstArea[lane] = (start / LANE_BYTES) & (AREAS - 1);
    this.#lastArea[lane] = ((start + bytes - 1) / LANE_BYTES) & (AREAS - 1);
    if (!isRead && this.#isGuarded && !this.#enter(slot, lane, isPartial)) return false;
    this.#start[lane] = start;
    this.#bytes[lane] = bytes;
    this.#skip[lane] = skip;
    this.#used[lane] = used;
    this.#at[lane] = begun;
    this.#step[lane] = isRead ? Step.READ : isPartial ? Step.READ_FIRST : Step.WRITE;
    this.#begun[slot] = begun + used;
    if (begun + used === length) this.#isBegun[slot] = 1;
    return true;
  }

  /** Have a lane's blocks to write, of which `#finish` lets go. */
  #enter(slot: number, lane: number, isPartial: boolean): boolean {
    const { latch } = this.#data;
    const first = this.#firstArea[lane];
    const last = this.#lastArea[lane];
    if (!isPartial) return latch.enter(first, last);
    if (this.#latchedLane !== NO_LANE) return false;
    if (this.#latchedSlot === NO_SLOT && latch.take(first, last)) this.#latchedSlot = slot;
    // Once it is taken it is kept: no others begin, or they could go on without end.
    if (this.#latchedSlot !== slot || !latch.isAlone(first, last)) return false;
    this.#latchedLane = lane;
    return true;
  }

  #releaseLatch(): void {
    this.#latchedLane = NO_LANE;
    this.#latchedSlot = NO_SLOT;
    this.#data.latch.release();
  }

  /** Have the disk below do a lane's steps until one is pending or the piece is done. */
  #run(lane: number): boolean {
    for (;;) {
      if (!this.#issue(lane)) return this.#finish(lane, IO_ERROR);
      const result = this.#lower.start(lane);
      if (result === PENDING) return false;
      if (!this.#conclude(lane, result)) return true;
    }
  }

  /** Say what the disk below has to do for a lane's step. False: it could not be encrypted. */
  #issue(lane: number): boolean {
    const step = this.#step[lane];
    if (step === Step.PASS) return true;
    const offset = this.#data.dataOffset + this.#start[lane];
    const bytes = this.#bytes[lane];
    if (step !== Step.WRITE) {
      this.#lanes.aim(lane, DiskOperation.READ, 0, offset, bytes);
      return true;
    }
    const slot = this.#slot[lane];
    const flags = this.#requests.flags[slot] & DiskFlag.STABLE;
    this.#lanes.aim(lane, DiskOperation.WRITE, flags, offset, bytes);
    return lane === this.#latchedLane ? this.#encryptMerged(lane) : this.#encryptWhole(lane);
  }

  #encryptWhole(lane: number): boolean {
    const slot = this.#slot[lane];
    const address = this.#lanes.address(lane);
    const bytes = this.#bytes[lane];
    const number = this.#number(lane);
    if (this.#requests.operation[slot] === DiskOperation.WRITE) {
      return this.#guest.encrypt(slot, this.#at[lane], bytes, address, number);
    }
    return this.#data.cipher.encrypt(this.#data.zeros.address, address, bytes, number);
  }

  /** The lane has what was in its blocks, not encrypted: change a part of that. */
  #encryptMerged(lane: number): boolean {
    const slot = this.#slot[lane];
    const address = this.#lanes.address(lane);
    const skip = this.#skip[lane];
    const used = this.#used[lane];
    if (this.#requests.operation[slot] === DiskOperation.WRITE) {
      this.#guest.gather(slot, this.#at[lane], used, address + skip);
    } else {
      this.#lanes.zero(lane, skip, used);
    }
    return this.#data.cipher.encrypt(address, address, this.#bytes[lane], this.#number(lane));
  }

  /** Number of a lane's first sector. */
  #number(lane: number): number {
    return this.#data.firstNumber + this.#start[lane] / IV_UNIT_BYTES;
  }

  /** Judge a step's result. True: the lane has another step. */
  #conclude(lane: number, result: number): boolean {
    const step = this.#step[lane];
    if (result !== 0 || step === Step.PASS || step === Step.WRITE) {
      return !this.#finish(lane, result);
    }
    const isDone = step === Step.READ ? this.#decrypt(lane) : this.#decryptInPlace(lane);
    if (!isDone) return !this.#finish(lane, IO_ERROR);
    if (step === Step.READ) return !this.#finish(lane, 0);
    if (this.#isAbandoning) return !this.#finish(lane, -Errno.ECANCELED);
    this.#step[lane] = Step.WRITE;
    return true;
  }

  #decrypt(lane: number): boolean {
    const slot = this.#slot[lane];
    const at = this.#at[lane];
    const used = this.#used[lane];
    const address = this.#lanes.address(lane);
    if (used === this.#bytes[lane]) {
      return this.#guest.decrypt(slot, at, used, address, this.#number(lane));
    }
    if (!this.#decryptInPlace(lane)) return false;
    this.#guest.scatter(slot, at, used, address + this.#skip[lane]);
    return true;
  }

  #decryptInPlace(lane: number): boolean {
    const address = this.#lanes.address(lane);
    return this.#data.cipher.decrypt(address, address, this.#bytes[lane], this.#number(lane));
  }

  /** A piece is done: its lane is free. Always true. */
  #finish(lane: number, result: number): true {
    const slot = this.#slot[lane];
    if (lane === this.#latchedLane) this.#releaseLatch();
    else if (this.#isGuarded && this.#step[lane] === Step.WRITE) {
      this.#data.latch.leave(this.#firstArea[lane], this.#lastArea[lane]);
    }
    this.#lanes.release(lane);
    this.#lanesOf[slot] -= 1;
    if (result !== 0) this.#giveUp(slot, result);
    return true;
  }

  onDiskDone(lane: number, result: number): void {
    const slot = this.#slot[lane];
    if (this.#conclude(lane, result) && !this.#run(lane)) return;
    this.#settle(slot);
    this.#serveLine();
  }

  /** One of a request's pieces is done: it goes on, or is answered if that was the last. */
  #settle(slot: number): void {
    if (this.#line.has(slot)) return;
    if (this.#isBegun[slot] === 0 && this.#line.count > 0) {
      this.#line.push(slot);
      return;
    }
    const result = this.#goOn(slot);
    if (result !== PENDING) this.#handler.onDiskDone(slot, result);
  }

  #serveLine(): void {
    for (let left = this.#line.count; left > 0 && this.#line.count > 0; left--) {
      // Whoever waits for a lane keeps his place.
      if (this.#lanes.freeCount === 0) return;
      const slot = this.#line.shift();
      const result = this.#goOn(slot);
      if (result !== PENDING) this.#handler.onDiskDone(slot, result);
    }
  }

  hasten(nobodyWaits: boolean): void {
    this.#lower.hasten?.(nobodyWaits);
  }

  abandon(): void {
    this.#isAbandoning = true;
    this.#lower.abandon?.();
    if (this.#line.count > 0) this.#wake(0);
  }

  close(): void {
    this.#wakeUp?.cancel();
    this.#lower.close();
    this.#lanes[Symbol.dispose]();
    this.#data.cipher.close();
  }
}
