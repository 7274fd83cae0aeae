/**
 * One queue's way into a qcow2 disk.
 *
 * Requests whose clusters are known, and lie one after the other in the image's file, or in the
 * backing disk, are passed on with their slots: the offset changes on the way down, and is put back
 * when the request is done. Those of several such runs are split. Nothing is allocated for either, and
 * nothing awaited. All others go through `Qcow2Image`.
 */
import { bufferAddress, Errno, IO_ERROR, PENDING, type Reactor } from '../../sys/index.ts';
import type { DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskFlag, DiskOperation, type DiskRequests } from '../disk-requests.ts';
import { ClusterRuns, NO_SLICE } from './cluster-runs.ts';
import { ClusterState } from './cluster-states.ts';
import type { Qcow2Below } from './qcow2-disk.ts';
import type { Qcow2Image } from './qcow2-image.ts';
import { SplitRequests } from './split-requests.ts';

/** Verdict on a request: it cannot be passed on. Neither 0 nor an errno nor `PENDING`. */
const NOT_DIRECT = 1;
/**
 * A request that could not be passed on so many times is done cluster by cluster: what it waits for
 * may be gone again each time, when there is more to do than there is room for tables.
 */
const MAX_TRIES = 4;
const NO_SLOT = -1;
/** In place of a number of a cluster: the request concerns none. */
const NO_CLUSTERS = -1;

/** See the module's comment. */
export class Qcow2Channel implements DiskChannel, DiskRequestHandler {
  readonly #image: Qcow2Image;
  readonly #reactor: Reactor;
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  readonly #lower: DiskChannel;
  readonly #backing: DiskChannel | undefined;
  readonly #clusterBytes: number;
  /** The disk below has no volatile cache, which must not become one by tables in memory. */
  readonly #isWriteThrough: boolean;
  /** What is answered is to be found by the next process. */
  readonly #keepsTables: boolean;
  /** By slot, of requests that were passed on: their offsets, and their clusters in the gate. */
  readonly #offsetLow: Int32Array;
  readonly #offsetHigh: Int32Array;
  readonly #first: Float64Array;
  readonly #last: Float64Array;
  readonly #isMoved: Uint8Array;
  readonly #runs: ClusterRuns;
  readonly #splits: SplitRequests;
  /** Somebody moves the clusters of the request that has just been looked at. */
  #isBlocked = false;
  #isAbandoning = false;

  constructor(
    image: Qcow2Image,
    below: Qcow2Below,
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
  ) {
    this.#image = image;
    this.#reactor = reactor;
    this.#requests = requests;
    this.#handler = handler;
    this.#lower = below.lower.openChannel(reactor, requests, this);
    this.#backing = below.backing?.openChannel(reactor, requests, this);
    this.#clusterBytes = image.layout.clusterBytes;
    this.#isWriteThrough = !below.lower.info.writeBack;
    this.#keepsTables = image.tableMode === 'write-through';
    this.#offsetLow = new Int32Array(requests.slots);
    this.#offsetHigh = new Int32Array(requests.slots);
    this.#first = new Float64Array(requests.slots);
    this.#last = new Float64Array(requests.slots);
    this.#isMoved = new Uint8Array(requests.slots);
    this.#runs = new ClusterRuns(image);
    const { clusterBytes } = image.layout;
    this.#splits = new SplitRequests({ below, reactor, requests, clusterBytes, handler: this });
  }

  start(slot: number): number {
    if (this.#isWriteThrough) this.#makeStable(slot);
    const result = this.#tryDirect(slot);
    if (result !== NOT_DIRECT) return result;
    void this.#startSlow(slot);
    return PENDING;
  }

  #makeStable(slot: number): void {
    const { operation, flags } = this.#requests;
    const isWrite = operation[slot] === DiskOperation.WRITE;
    if (isWrite || operation[slot] === DiskOperation.WRITE_ZEROES) flags[slot] |= DiskFlag.STABLE;
  }

  /** Pass a request on: its result, `PENDING`, or `NOT_DIRECT`. */
  #tryDirect(slot: number): number {
    const requests = this.#requests;
    const operation = requests.operation[slot];
    this.#runs.missingSlice = NO_SLICE;
    this.#isBlocked = false;
    if (operation > DiskOperation.WRITE) {
      if (operation !== DiskOperation.FLUSH || this.#image.needsFlush) return NOT_DIRECT;
      this.#first[slot] = NO_CLUSTERS;
      return this.#lower.start(slot);
    }
    if (this.#waitsForTables(slot)) return NOT_DIRECT;
    const length = requests.lengthBytes[slot];
    if (length === 0) return 0;
    if (operation === DiskOperation.WRITE && this.#image.isDamaged) return IO_ERROR;
    const offset = requests.offsetBytes(slot);
    const first = Math.floor(offset / this.#clusterBytes);
    const last = Math.floor((offset + length - 1) / this.#clusterBytes);
    const runs = this.#runs;
    if (!runs.find(first, last, operation === DiskOperation.WRITE)) return NOT_DIRECT;
    if (runs.count > 1 && !this.#splits.hasRoom(runs.count)) return NOT_DIRECT;
    this.#first[slot] = first;
    this.#last[slot] = last;
    this.#isBlocked = !this.#image.gate.tryEnter(first, last);
    if (this.#isBlocked) return NOT_DIRECT;
    const result = runs.count > 1 ? this.#splits.start(slot, runs) : this.#pass(slot, offset);
    if (result !== PENDING) this.#leave(slot);
    return result;
  }

  #isStable(slot: number): boolean {
    return (this.#requests.flags[slot] & DiskFlag.STABLE) !== 0;
  }

  /** A request that could be passed on has to wait for tables that lead there to be written. */
  #waitsForTables(slot: number): boolean {
    if (this.#isStable(slot)) return this.#image.needsFlush;
    const isWrite = this.#requests.operation[slot] === DiskOperation.WRITE;
    return isWrite && this.#keepsTables && this.#image.hasUnwritten;
  }

  /** Pass a request of one run on. */
  #pass(slot: number, offset: number): number {
    const runs = this.#runs;
    const kind = runs.kind[0];
    const requests = this.#requests;
    if (kind === ClusterState.ZEROS) {
      requests.iovecs.zero(slot, requests.lengthBytes[slot]);
      return 0;
    }
    const isInFile = kind === ClusterState.DATA;
    const channel = isInFile ? this.#lower : this.#backing;
    if (channel === undefined) return IO_ERROR;
    const low = requests.offsetLow[slot];
    const high = requests.offsetHigh[slot];
    if (isInFile) {
      const below = runs.host[0] + offset - runs.first[0] * this.#clusterBytes;
      requests.offsetLow[slot] = below | 0;
      requests.offsetHigh[slot] = (below / 2 ** 32) | 0;
    }
    this.#offsetLow[slot] = low;
    this.#offsetHigh[slot] = high;
    this.#isMoved[slot] = 1;
    return channel.start(slot);
  }

  /** A request that was passed on is done. */
  #leave(slot: number): void {
    if (this.#isMoved[slot] === 1) {
      this.#isMoved[slot] = 0;
      this.#requests.offsetLow[slot] = this.#offsetLow[slot];
      this.#requests.offsetHigh[slot] = this.#offsetHigh[slot];
    }
    const first = this.#first[slot];
    if (first !== NO_CLUSTERS) this.#image.gate.leave(first, this.#last[slot]);
  }

  onDiskDone(slot: number, result: number): void {
    this.#leave(slot);
    this.#handler.onDiskDone(slot, result);
  }

  /** Do a request with whatever that takes, and report it. */
  async #startSlow(slot: number): Promise<void> {
    const result = await this.#slow(slot).catch(resultOf);
    if (result === PENDING) this.#reactor.requestTurn();
    else this.#report(slot, result);
  }

  #report(slot: number, result: number): void {
    this.#handler.onDiskDone(slot, result);
    this.#reactor.requestTurn();
  }

  /** The result, or `PENDING` of a request that has been passed on in the end. */
  async #slow(slot: number): Promise<number> {
    const { cache, gate, tables } = this.#image;
    const runs = this.#runs;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      // Both are of this request: nothing has been awaited since it was looked at.
      if (runs.missingSlice === NO_SLICE && !this.#isBlocked) break;
      let pinned = NO_SLOT;
      if (this.#isBlocked) await gate.untilFree(this.#first[slot], this.#last[slot]);
      else pinned = await tables.pin(runs.missingSlice);
      const result = this.#isAbandoning ? -Errno.ECANCELED : this.#tryDirect(slot);
      if (pinned !== NO_SLOT) cache.unpin(pinned);
      if (result !== NOT_DIRECT) return result;
    }
    const requests = this.#requests;
    switch (requests.operation[slot]) {
      case DiskOperation.READ:
        return this.#read(slot);
      case DiskOperation.FLUSH:
        await this.#image.flush();
        return 0;
      default:
        await this.#change(slot);
        if (this.#isStable(slot)) await this.#image.flush();
        else if (this.#keepsTables) await this.#image.keep();
        return 0;
    }
  }

  async #read(slot: number): Promise<number> {
    const length = this.#requests.lengthBytes[slot];
    const buffer = Buffer.allocUnsafeSlow(length);
    await this.#image.read(buffer, this.#requests.offsetBytes(slot));
    this.#requests.iovecs.scatter(slot, bufferAddress(buffer), length);
    return 0;
  }

  async #change(slot: number): Promise<void> {
    const requests = this.#requests;
    const offset = requests.offsetBytes(slot);
    const length = requests.lengthBytes[slot];
    const operation = requests.operation[slot];
    if (length === 0) return;
    if (operation === DiskOperation.DISCARD) {
      await this.#image.discard(offset, length);
    } else if (operation === DiskOperation.WRITE_ZEROES) {
      const flags = requests.flags[slot];
      const mayUnmap = (flags & DiskFlag.UNMAP) !== 0;
      const mustBeFast = (flags & DiskFlag.NO_FALLBACK) !== 0;
      await this.#image.zero(offset, length, { mayUnmap, mustBeFast });
    } else {
      const data = Buffer.allocUnsafeSlow(length);
      requests.iovecs.gather(slot, bufferAddress(data), length);
      await this.#image.write(data, offset);
    }
  }

  abandon(): void {
    this.#isAbandoning = true;
    this.#lower.abandon?.();
    this.#backing?.abandon?.();
    this.#splits.abandon();
  }

  close(): void {
    this.#lower.close();
    this.#backing?.close();
    this.#splits.close();
  }
}

/** The negative errno of what a request has failed with. */
function resultOf(error: unknown): number {
  const { code } = error as NodeJS.ErrnoException;
  return -(Errno[code as keyof typeof Errno] ?? Errno.EIO);
}
