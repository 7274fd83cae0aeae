/**
 * The data path of a block device: one run of one virtqueue, from its start to its stop, on one
 * reactor.
 *
 * In each turn `poll` takes what the driver has made available, hands it to the disk, and puts what
 * is finished on the used ring: one index store and at most one call for the whole batch. Requests
 * that the disk does not finish at once come back through `onDiskDone`, earlier in the same turn.
 * Nothing here allocates, throws or awaits.
 *
 *     running <--pause, resume--> paused
 *        |                          |
 *        | ring makes no sense      | drain
 *        v                          v
 *      broken ----- drain -----> draining ----- all requests answered -----> drained
 */
import { strict as assert } from 'node:assert';
import type { GuestMemory } from '../memory/index.ts';
import {
  type DiskChannel,
  DiskFlag,
  DiskOperation,
  type DiskRequestHandler,
} from '../storage/index.ts';
import { Errno, PENDING, type PollSource, signalEvent } from '../sys/index.ts';
import type { HaltMode } from '../vhost-user/index.ts';
import {
  CHAIN_FAULT_TEXT,
  ChainFault,
  DescriptorChain,
  type DeviceRing,
  RingFeature,
} from '../virtqueue/index.ts';
import type { BlockRequests } from './block-requests.ts';
import { CallPacer } from './call-pacer.ts';
import { Limit, RequestType, SECTOR_BYTES, Status } from './constants.ts';
import { Counter, countAnswered, countDone } from './counters.ts';
import type { DeviceState } from './device-state.ts';
import { type CachePolicy, cachePolicy, hasFeature } from './features.ts';
import type { QueueLog } from './queue-log.ts';
import { RequestParser, type RequestRules, START_DISK, UNANSWERABLE } from './request-parser.ts';

/** Requests taken in one turn before completions and other queues get theirs. */
const MAX_BATCH_REQUESTS = 256;
/**
 * Requests submitted to the kernel in one turn: few when the ring was empty, so that those served
 * from the page cache are done, and the driver wakes up, while the others are being served; twice
 * as many in each further turn.
 */
const FIRST_SUBMISSIONS = 2;
const MAX_SUBMISSIONS = 64;
/** How often a ring without kicks is looked at when nothing else happens, in milliseconds. */
const POLLED_RING_INTERVAL_MS = 0.1;
/** No event descriptor. */
export const NO_FD = -1;

/** What a run of a queue works with; all outlive it. */
export interface BlockQueueOptions {
  readonly ring: DeviceRing;
  readonly memory: GuestMemory;
  readonly requests: BlockRequests;
  readonly rules: RequestRules;
  readonly state: DeviceState;
  readonly counters: Float64Array;
  /** The driver sends no kicks: the ring has to be looked at. */
  readonly isPolled: boolean;
  readonly openChannel: (handler: DiskRequestHandler) => DiskChannel;
  /** The ring cannot be served any more; called once, with the reason. */
  readonly onBroken: (reason: string) => void;
}

/** See the module's comment. */
export class BlockQueue implements PollSource, DiskRequestHandler {
  readonly maxSleepMs: number;
  /** Descriptor to signal when the ring is broken, or `NO_FD`. */
  errFd: number = NO_FD;
  readonly #ring: DeviceRing;
  #callFd: number = NO_FD;
  /** The driver may have missed a call: see `callFd`. */
  #owesCall = false;
  readonly #requests: BlockRequests;
  readonly #chain = new DescriptorChain();
  readonly #parser: RequestParser;
  readonly #channel: DiskChannel;
  readonly #state: DeviceState;
  readonly #cachePolicy: CachePolicy;
  readonly #counters: Float64Array;
  readonly #indirectAllowed: boolean;
  readonly #onBroken: (reason: string) => void;
  #memory: GuestMemory;
  /** Where to log writes to guest memory, if they are to be. */
  #log: QueueLog | undefined;
  /** Requests handed to the disk in this turn that are not done, and how many may be. */
  #submitted = 0;
  #maxSubmitted = FIRST_SUBMISSIONS;
  readonly #pacer = new CallPacer();
  #accepting = true;
  #isBroken = false;
  #onDrained: (() => void) | undefined;
  /** Which requests that are not done are left to another back-end. */
  #leaving: HaltMode = 'finish';

  constructor(options: BlockQueueOptions) {
    this.maxSleepMs = options.isPolled ? POLLED_RING_INTERVAL_MS : Number.POSITIVE_INFINITY;
    this.#ring = options.ring;
    this.#memory = options.memory;
    this.#requests = options.requests;
    this.#state = options.state;
    this.#cachePolicy = cachePolicy(options.rules.features);
    this.#counters = options.counters;
    this.#indirectAllowed = hasFeature(options.rules.features, RingFeature.INDIRECT_DESC);
    this.#onBroken = options.onBroken;
    this.#parser = new RequestParser(
      options.requests,
      this.#chain,
      options.memory,
      options.rules,
      options.state,
    );
    this.#channel = options.openChannel(this);
  }

  /**
   * Descriptor to signal when the driver wants to know of used entries, or `NO_FD`.
   *
   * A new one is signalled once in any case. The last call may have come to nobody: a back-end that
   * was killed before it, a front-end that was just setting the device up or giving it up, or that
   * exchanges the descriptor only when rings run, as QEMU does. And while a driver has not seen
   * what it asked to be called for, it is called for nothing else.
   */
  get callFd(): number {
    return this.#callFd;
  }

  set callFd(fd: number) {
    if (fd !== this.#callFd) this.#owesCall = fd !== NO_FD;
    this.#callFd = fd;
  }

  /** After a drain, what the next run starts with (GET_VRING_BASE). */
  get base(): number {
    return this.#ring.base;
  }

  /** Requests taken and not answered. */
  get inFlight(): number {
    return this.#requests.slots - this.#requests.freeCount;
  }

  /** Take no more requests until `resume`; those under way go on. */
  pause(): void {
    this.#accepting = false;
  }

  resume(): void {
    this.#accepting = !this.#isBroken;
  }

  /**
   * Take no more requests, and call back when none is under way; perhaps at once.
   *
   * @param hasLog - what is given up need not be answered: the ring's log has it, for whoever goes on
   * with it. Nothing of that goes on here.
   */
  drain(onDrained: () => void, mode: HaltMode = 'finish', hasLog = false): void {
    assert(this.#onDrained === undefined, 'a queue is drained once at a time');
    this.#leaving = hasLog ? mode : 'finish';
    const leavesRest = this.#leaving === 'leave';
    // What an earlier back-end had taken counts as taken.
    this.#accepting = !this.#isBroken && !leavesRest && this.#ring.unansweredCount > 0;
    this.#onDrained = onDrained;
    if (leavesRest) this.#channel.abandon?.();
    else this.#channel.hasten?.(mode === 'abort');
    this.#finishDrain();
  }

  /** Serve nothing: the ring is not what it should be. */
  giveUp(reason: string): void {
    this.#break(reason);
  }

  /** The guest's memory has changed. Only while no request is under way. */
  replaceMemory(memory: GuestMemory): void {
    assert(this.inFlight === 0, 'memory replaced under a request');
    this.#memory = memory;
    this.#parser.memory = memory;
  }

  /**
   * Log what is written from now on, or no more. Requests under way are logged as they complete:
   * only then what they have written counts.
   */
  setLog(log: QueueLog | undefined): void {
    this.#log = log;
    this.#parser.log = log?.dataLog;
    if (log === undefined) this.#ring.setDirtyLog(undefined, 0);
    else log.attach(this.#ring);
  }

  /** End the run. Only when drained. */
  close(): void {
    assert(this.inFlight === 0, 'queue closed with requests under way');
    this.#channel.close();
  }

  poll(): boolean {
    const ring = this.#ring;
    let worked = false;
    if (this.#owesCall) this.#callAnyway();
    if (this.#accepting) {
      const available = ring.availableCount();
      if (available > 0) {
        worked = this.#serveBatch(available);
      } else if (available < 0) {
        this.#break('available index is impossible');
      }
      if (this.#onDrained !== undefined && ring.unansweredCount === 0) this.#accepting = false;
    }
    if (ring.unpublished > 0) {
      this.#publish();
      worked = true;
    }
    // Also when the last answer was published within a batch that broke the ring.
    if (this.#onDrained !== undefined) this.#finishDrain();
    return worked;
  }

  prepareToSleep(): boolean {
    // Without a free slot, or while paused, kicks are of no use: a completion or a command wakes.
    if (!this.#accepting || this.#requests.freeCount === 0) return true;
    return this.#ring.requestKicks();
  }

  onDiskDone(slot: number, result: number): void {
    if (this.#leaving !== 'finish' && this.#isLeft(slot, result)) {
      this.#requests.release(slot);
      return;
    }
    const next = result === 0 ? this.#startNextRange(slot) : result;
    if (next !== PENDING) this.#finishDisk(slot, next);
  }

  /** Whether a request that the disk has no more to do with has not been done, or not all of it. */
  #isLeft(slot: number, result: number): boolean {
    if (result === -Errno.ECANCELED) return true;
    if (this.#leaving === 'abort') return false;
    const { rangeIndex, rangeCount } = this.#requests;
    return result === 0 && rangeIndex[slot] + 1 < rangeCount[slot];
  }

  #serveBatch(available: number): boolean {
    const ring = this.#ring;
    const count = Math.min(available, this.#requests.freeCount, MAX_BATCH_REQUESTS);
    if (count === 0) return false;
    ring.suppressKicks();
    const held = this.#pacer.begin(count);
    this.#submitted = 0;
    let served = 0;
    while (served < count && this.#submitted < this.#maxSubmitted && this.#accepting) {
      this.#serve();
      if (ring.unpublished >= held || !ring.wouldCall) this.#publish();
      served += 1;
    }
    this.#pacer.end(served);
    const isEmptied = served === available;
    this.#maxSubmitted = isEmptied
      ? FIRST_SUBMISSIONS
      : Math.min(this.#maxSubmitted * 2, MAX_SUBMISSIONS);
    return true;
  }

  #serve(): void {
    const fault = this.#ring.takeChain(this.#chain, this.#memory, this.#indirectAllowed);
    if (fault !== ChainFault.OK) {
      this.#break(CHAIN_FAULT_TEXT[fault]);
      return;
    }
    const slot = this.#requests.take();
    this.#requests.token[slot] = this.#chain.token;
    const verdict = this.#parser.parse(slot);
    if (verdict === START_DISK) {
      const result = this.#startDisk(slot);
      if (result === PENDING) this.#submitted += 1;
      else this.#finishDisk(slot, result);
    } else if (verdict === UNANSWERABLE) {
      this.#requests.release(slot);
      this.#break('request without a byte for its status');
    } else {
      countAnswered(this.#counters, this.#requests.type[slot], verdict);
      this.#answer(slot, verdict, this.#parser.writtenBytes);
    }
  }

  /** Hand a slot to the disk: 0, a negative errno, or `PENDING`. */
  #startDisk(slot: number): number {
    const disk = this.#requests.disk;
    const operation = disk.operation[slot];
    if (this.#requests.rangeCount[slot] > 0) return this.#startRange(slot, 0);
    const mustBeStable = operation === DiskOperation.WRITE && this.#isWriteThrough();
    disk.flags[slot] = mustBeStable ? DiskFlag.STABLE : 0;
    return this.#channel.start(slot);
  }

  /** Start with range `index`, and go on with those after it as long as each is done at once. */
  #startRange(slot: number, index: number): number {
    const requests = this.#requests;
    const disk = requests.disk;
    const isZeroing = requests.type[slot] === RequestType.WRITE_ZEROES;
    for (let current = index; current < requests.rangeCount[slot]; current++) {
      const place = slot * Limit.RANGES + current;
      requests.rangeIndex[slot] = current;
      const offset = requests.rangeSector[place] * SECTOR_BYTES;
      const length = requests.rangeSectors[place] * SECTOR_BYTES;
      if (length === 0) continue;
      const mustBeStable = isZeroing && this.#isWriteThrough();
      disk.operation[slot] = isZeroing ? DiskOperation.WRITE_ZEROES : DiskOperation.DISCARD;
      disk.offsetLow[slot] = offset | 0;
      disk.offsetHigh[slot] = (offset / 2 ** 32) | 0;
      disk.lengthBytes[slot] = length;
      disk.flags[slot] = requests.rangeFlags[place] | (mustBeStable ? DiskFlag.STABLE : 0);
      const result = this.#channel.start(slot);
      if (result !== 0) return result;
    }
    return 0;
  }

  /** Whether a write has to be stable when it completes. */
  #isWriteThrough(): boolean {
    const policy = this.#cachePolicy;
    return policy === 'as-field-says' ? !this.#state.writeback : policy === 'never';
  }

  #startNextRange(slot: number): number {
    if (this.#requests.rangeCount[slot] === 0) return 0;
    return this.#startRange(slot, this.#requests.rangeIndex[slot] + 1);
  }

  /** The disk is done with a request: count it and answer it. */
  #finishDisk(slot: number, result: number): void {
    const requests = this.#requests;
    const counters = this.#counters;
    const type = requests.type[slot];
    // A read that failed may have written some of it.
    if (this.#log !== undefined && type === RequestType.IN) {
      this.#log.read(requests, slot, this.#memory);
    }
    if (result !== 0) {
      const isUnsupported = result === -Errno.EOPNOTSUPP;
      counters[isUnsupported ? Counter.unsupportedRequests : Counter.diskErrors] += 1;
      this.#answer(slot, isUnsupported ? Status.UNSUPP : Status.IOERR, 0);
      return;
    }
    const bytes = requests.disk.lengthBytes[slot];
    if (type === RequestType.FLUSH) this.#state.onFlush();
    countDone(counters, type, bytes);
    this.#answer(slot, Status.OK, type === RequestType.IN ? bytes : 0);
  }

  /** Status byte, used entry; `writtenBytes` of data went to the driver's buffers. */
  #answer(slot: number, status: number, writtenBytes: number): void {
    const requests = this.#requests;
    const memory = this.#memory;
    const view = memory.access(requests.statusLow[slot], requests.statusHigh[slot], 1);
    // Checked when the request was parsed, and memory does not change under requests.
    if (view !== undefined) view.setUint8(memory.viewOffset, status);
    if (this.#log !== undefined) this.#log.status(requests, slot);
    this.#ring.pushUsed(requests.token[slot], writtenBytes + 1);
    requests.release(slot);
  }

  #publish(): void {
    const wantsCall = this.#ring.publish();
    if (this.#log !== undefined) this.#log.published(this.#counters);
    if (!wantsCall || this.#callFd === NO_FD) return;
    this.#counters[Counter.calls] += 1;
    signalEvent(this.#callFd);
  }

  /** Not for anything that was answered here: not counted. */
  #callAnyway(): void {
    this.#owesCall = false;
    signalEvent(this.#callFd);
  }

  #finishDrain(): void {
    if (this.#accepting || this.inFlight > 0 || this.#ring.unpublished > 0) return;
    const onDrained = this.#onDrained;
    this.#onDrained = undefined;
    onDrained?.();
  }

  #break(reason: string): void {
    this.#accepting = false;
    this.#isBroken = true;
    this.#counters[Counter.brokenRings] += 1;
    this.#onBroken(reason);
    // Comes last: it waits if somebody has filled the counter.
    if (this.errFd !== NO_FD) signalEvent(this.errFd);
  }
}
