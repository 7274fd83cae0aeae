/**
 * The data path of the file disk: one queue's requests on one file.
 *
 * A request is a sequence of steps (system calls or ring submissions), each chosen from what the
 * step before gave: a short read goes on where it stopped, a refused `fallocate` is followed by the
 * next best way to zero. `#issue` starts a step, `#conclude` judges its result; in between the
 * step may be pending.
 */
import {
  Errno,
  Fallocate,
  type FileIo,
  type FileIoHandler,
  IO_ERROR,
  PENDING,
  ReadWriteFlag,
  type Writer,
} from '../../sys/index.ts';
import type { DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskFlag, DiskOperation, type DiskRequests } from '../disk-requests.ts';
import type { FileCalls } from './file-calls.ts';
import { restIsZeros } from './file-size.ts';
import { ENTERED, type Flusher } from './flush-gate.ts';
import type { FlushLane } from './flush-lanes.ts';
import type { UnalignedIo } from './unaligned-io.ts';
import type { ZeroPages } from './zero-pages.ts';

const PUNCH = Fallocate.PUNCH_HOLE | Fallocate.KEEP_SIZE;
const ZERO_IN_PLACE = Fallocate.ZERO_RANGE | Fallocate.KEEP_SIZE;

/** What a slot is at. */
const Step = {
  TRANSFER: 0,
  DEVICE_DISCARD: 1,
  PUNCH: 2,
  ZERO_IN_PLACE: 3,
  WRITE_ZERO_PAGES: 4,
  /** Of zeros that have to be stable. */
  SYNC: 5,
  FLUSH: 6,
  /** Of blocks that a range to be zeroed covers in part, with direct I/O. */
  ZERO_EDGES: 7,
} as const;

/**
 * How often a request is tried again that the kernel was interrupted in (EINTR) or had no room for
 * (EAGAIN): more would be a loop.
 */
const MAX_RETRIES = 16;

/** Verdict on a step: the request is not finished. Neither 0 nor an errno nor `PENDING`. */
const GO_ON = 1;

/** The ways into the file that a channel works with. */
export interface FilePaths {
  readonly calls: FileCalls;
  readonly reads: FileIo;
  readonly writes: Writer;
  /** For the rest; the path to close. */
  readonly control: FileIo;
  /** For the fdatasync of FLUSH, and by whose leave. */
  readonly flushes: FileIo;
  readonly flushLane: FlushLane;
  readonly isBlockDevice: boolean;
  /** With direct I/O: for requests that do not meet its alignment. */
  readonly unaligned: UnalignedIo | undefined;
  readonly zeroPages: ZeroPages;
}

/** Refused, not failed: another way may do. */
function isRefused(result: number): boolean {
  return (
    result === -Errno.EOPNOTSUPP ||
    result === -Errno.ENOSYS ||
    result === -Errno.EINVAL ||
    result === -Errno.EBUSY
  );
}

/** Not done, as was asked of the engine. */
function isGivenBack(result: number): boolean {
  return result === -Errno.ECANCELED || result === -Errno.EINTR;
}

/** See the module's comment. */
export class FileChannel implements DiskChannel, FileIoHandler, Flusher {
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  readonly #paths: FilePaths;
  readonly #reads: FileIo;
  readonly #writes: Writer;
  readonly #unaligned: UnalignedIo | undefined;
  readonly #step: Uint8Array;
  /** By slot: a step is pending. */
  readonly #isPending: Uint8Array;
  #isAbandoning = false;
  readonly #doneBytes: Float64Array;
  readonly #retries: Uint8Array;
  /** What the file system has refused for good. */
  #canPunch = true;
  #canZeroInPlace = true;

  /** @param openPaths - called once, with the handler that pending steps report to. */
  constructor(
    requests: DiskRequests,
    handler: DiskRequestHandler,
    openPaths: (handler: FileIoHandler) => FilePaths,
  ) {
    this.#requests = requests;
    this.#handler = handler;
    this.#paths = openPaths(this);
    this.#reads = this.#paths.reads;
    this.#writes = this.#paths.writes;
    this.#unaligned = this.#paths.unaligned;
    this.#step = new Uint8Array(requests.slots);
    this.#isPending = new Uint8Array(requests.slots);
    this.#doneBytes = new Float64Array(requests.slots);
    this.#retries = new Uint8Array(requests.slots);
  }

  start(slot: number): number {
    const operation = this.#requests.operation[slot];
    this.#doneBytes[slot] = 0;
    this.#retries[slot] = 0;
    if (operation <= DiskOperation.WRITE) {
      const unaligned = this.#unaligned;
      if (unaligned !== undefined && !unaligned.isAligned(this.#requests, slot)) {
        return this.#bounce(unaligned, slot);
      }
      this.#step[slot] = Step.TRANSFER;
    } else if (operation === DiskOperation.FLUSH) {
      return this.#flush(slot);
    } else {
      this.#step[slot] = this.#firstStep(slot, operation);
    }
    return this.#run(slot);
  }

  onFileIo(slot: number, result: number): void {
    this.#isPending[slot] = 0;
    const isFlush = this.#step[slot] === Step.FLUSH;
    // A flush may be others', too: it is waited for.
    const isAbandoned = this.#isAbandoning && !isFlush;
    let verdict =
      isAbandoned && isGivenBack(result) ? -Errno.ECANCELED : this.#conclude(slot, result);
    if (verdict === GO_ON) verdict = isAbandoned ? -Errno.ECANCELED : this.#run(slot);
    if (verdict === PENDING) return;
    this.#handler.onDiskDone(slot, verdict);
    if (isFlush) this.#paths.flushLane.gate.leave(verdict);
  }

  #flush(slot: number): number {
    const gate = this.#paths.flushLane.gate;
    const entered = gate.enter(this, slot);
    if (entered !== ENTERED) return entered;
    const verdict = this.startFlush(slot);
    if (verdict !== PENDING) gate.leave(verdict);
    return verdict;
  }

  startFlush(slot: number): number {
    this.#step[slot] = Step.FLUSH;
    return this.#run(slot);
  }

  onFlushed(slot: number, result: number): void {
    this.#handler.onDiskDone(slot, result);
  }

  /** Issue steps until one is pending or the request is done. */
  #run(slot: number): number {
    for (;;) {
      const result = this.#issue(slot);
      if (result === PENDING) {
        this.#isPending[slot] = 1;
        return PENDING;
      }
      const verdict = this.#conclude(slot, result);
      if (verdict !== GO_ON) return verdict;
    }
  }

  #firstStep(slot: number, operation: number): number {
    if (operation === DiskOperation.DISCARD) {
      return this.#paths.isBlockDevice ? Step.DEVICE_DISCARD : Step.PUNCH;
    }
    const unaligned = this.#unaligned;
    const offset = this.#requests.offsetBytes(slot);
    const length = this.#requests.lengthBytes[slot];
    return unaligned?.hasEdges(offset, length) ? Step.ZERO_EDGES : this.#zeroStep(slot);
  }

  /** The first way to zero a range; of whole blocks, with direct I/O. */
  #zeroStep(slot: number): number {
    const mayUnmap = (this.#requests.flags[slot] & DiskFlag.UNMAP) !== 0;
    if (mayUnmap && this.#canPunch) return Step.PUNCH;
    const mayFallBack = (this.#requests.flags[slot] & DiskFlag.NO_FALLBACK) === 0;
    return this.#canZeroInPlace || !mayFallBack ? Step.ZERO_IN_PLACE : Step.WRITE_ZERO_PAGES;
  }

  #issue(slot: number): number {
    const step = this.#step[slot];
    if (step === Step.TRANSFER) return this.#transfer(slot);
    const requests = this.#requests;
    const offset = requests.offsetBytes(slot);
    const length = requests.lengthBytes[slot];
    switch (step) {
      case Step.DEVICE_DISCARD:
        return this.#paths.calls.discard(offset, length);
      case Step.ZERO_EDGES:
        return this.#unaligned?.zeroEdges(offset, length) ?? IO_ERROR;
      case Step.PUNCH:
        return this.#paths.control.fallocate(slot, PUNCH, offset, length);
      case Step.ZERO_IN_PLACE:
        return this.#paths.control.fallocate(slot, ZERO_IN_PLACE, offset, length);
      case Step.WRITE_ZERO_PAGES:
        return this.#writeZeros(slot, offset, length);
      case Step.SYNC:
        return this.#paths.control.fdatasync(slot);
      default:
        return this.#paths.flushes.fdatasync(slot);
    }
  }

  /** Zero some of what is left by writing. */
  #writeZeros(slot: number, offset: number, length: number): number {
    const done = this.#doneBytes[slot];
    const left = length - done;
    // Of whole blocks, unless a write before has stopped within one.
    const edge = this.#unaligned?.zeroEdge(offset + done, left) ?? 0;
    if (edge !== 0) return edge;
    this.#paths.zeroPages.fillSlot(this.#requests.iovecs, slot, left);
    return this.#transfer(slot);
  }

  /** Read or write what is left of the slot's list. */
  #transfer(slot: number): number {
    const requests = this.#requests;
    let low = requests.offsetLow[slot];
    let high = requests.offsetHigh[slot];
    const done = this.#doneBytes[slot];
    if (done > 0) {
      const offset = requests.offsetBytes(slot) + done;
      low = offset | 0;
      high = (offset / 2 ** 32) | 0;
    }
    if (requests.operation[slot] === DiskOperation.READ) return this.#reads.readv(slot, low, high);
    const isStable = (requests.flags[slot] & DiskFlag.STABLE) !== 0;
    return this.#writes.writev(slot, low, high, isStable ? ReadWriteFlag.DSYNC : 0);
  }

  /** Judge the result of the slot's step: `GO_ON` with the next one, or the request's result. */
  #conclude(slot: number, result: number): number {
    if ((result === -Errno.EINTR || result === -Errno.EAGAIN) && this.#mayRetry(slot)) return GO_ON;
    switch (this.#step[slot]) {
      case Step.TRANSFER:
        return this.#concludeTransfer(slot, result);
      case Step.DEVICE_DISCARD:
        // A hint that cannot be followed is not an error.
        return isRefused(result) ? 0 : result;
      case Step.ZERO_EDGES:
        return result < 0 ? result : this.#zeroRest(slot);
      case Step.PUNCH:
        return this.#concludePunch(slot, result);
      case Step.ZERO_IN_PLACE:
        if (!isRefused(result)) return this.#finishZeroing(slot, result);
        if (result === -Errno.EOPNOTSUPP) this.#canZeroInPlace = false;
        return this.#fallBack(slot);
      case Step.WRITE_ZERO_PAGES:
        if (result <= 0) return result < 0 ? result : IO_ERROR;
        this.#doneBytes[slot] += result;
        if (this.#doneBytes[slot] < this.#requests.lengthBytes[slot]) return GO_ON;
        return this.#finishZeroing(slot, 0);
      case Step.SYNC:
        if (result < 0) this.#paths.flushLane.gate.fail(-result);
        return result;
      default:
        return this.#paths.flushLane.gate.judge(result);
    }
  }

  #mayRetry(slot: number): boolean {
    this.#retries[slot] += 1;
    return this.#retries[slot] <= MAX_RETRIES;
  }

  #concludeTransfer(slot: number, result: number): number {
    if (result < 0) return this.#failTransfer(slot, result);
    const requests = this.#requests;
    const done = this.#doneBytes[slot] + result;
    const length = requests.lengthBytes[slot];
    if (done === length) return 0;
    this.#doneBytes[slot] = done;
    requests.iovecs.advance(slot, result);
    const isRead = requests.operation[slot] === DiskOperation.READ;
    if (result === 0) return isRead ? this.#endRead(slot, done) : IO_ERROR;
    const unaligned = this.#unaligned;
    if (unaligned === undefined || unaligned.isAligned(requests, slot)) return GO_ON;
    // Direct reads stop in the middle of a block only where the file ends.
    return isRead ? this.#endRead(slot, done) : this.#startAgain(slot);
  }

  #failTransfer(slot: number, result: number): number {
    const isStable = (this.#requests.flags[slot] & DiskFlag.STABLE) !== 0;
    const isWrite = this.#requests.operation[slot] === DiskOperation.WRITE;
    if (isWrite && isStable && !this.#paths.flushLane.isApart)
      this.#paths.flushLane.gate.fail(-result);
    return result;
  }

  /** A read has stopped after so many bytes: where the file ends, as far as that is known. */
  #endRead(slot: number, doneBytes: number): number {
    const requests = this.#requests;
    const start = requests.offsetBytes(slot);
    const end = start + requests.lengthBytes[slot];
    const sizeBytes = this.#paths.calls.sizeBytes();
    if (start + doneBytes < sizeBytes) return this.#startAgain(slot);
    if (!restIsZeros(sizeBytes, end)) return IO_ERROR;
    requests.iovecs.zero(slot, requests.lengthBytes[slot] - doneBytes);
    return 0;
  }

  /** A transfer has stopped where it could not be gone on with. */
  #startAgain(slot: number): number {
    if (!this.#mayRetry(slot)) return IO_ERROR;
    this.#requests.iovecs.rewind(slot);
    this.#doneBytes[slot] = 0;
    return GO_ON;
  }

  /** The edges of a range are zeroed. */
  #zeroRest(slot: number): number {
    this.#unaligned?.trimEdges(this.#requests, slot);
    if (this.#requests.lengthBytes[slot] === 0) return this.#finishZeroing(slot, 0);
    this.#step[slot] = this.#zeroStep(slot);
    return GO_ON;
  }

  #concludePunch(slot: number, result: number): number {
    const isZeroing = this.#requests.operation[slot] === DiskOperation.WRITE_ZEROES;
    if (!isRefused(result)) return isZeroing ? this.#finishZeroing(slot, result) : result;
    if (!isZeroing) return 0;
    if (result === -Errno.EOPNOTSUPP) this.#canPunch = false;
    if (!this.#canZeroInPlace) return this.#fallBack(slot);
    this.#step[slot] = Step.ZERO_IN_PLACE;
    return GO_ON;
  }

  /** Zeroing in place is refused: write zeros, unless that was ruled out. */
  #fallBack(slot: number): number {
    if ((this.#requests.flags[slot] & DiskFlag.NO_FALLBACK) !== 0) return -Errno.EOPNOTSUPP;
    this.#step[slot] = Step.WRITE_ZERO_PAGES;
    return GO_ON;
  }

  /** Zeroed; in write-through mode that has to be stable, too. */
  #finishZeroing(slot: number, result: number): number {
    const isStable = (this.#requests.flags[slot] & DiskFlag.STABLE) !== 0;
    if (result < 0 || !isStable) return result;
    this.#step[slot] = Step.SYNC;
    return GO_ON;
  }

  #bounce(unaligned: UnalignedIo, slot: number): number {
    if (this.#requests.operation[slot] === DiskOperation.READ) {
      return unaligned.read(this.#requests, slot);
    }
    const result = unaligned.write(this.#requests, slot);
    const isStable = (this.#requests.flags[slot] & DiskFlag.STABLE) !== 0;
    if (result < 0 || !isStable) return result;
    this.#step[slot] = Step.SYNC;
    return this.#run(slot);
  }

  abandon(): void {
    this.#isAbandoning = true;
    // All that is pending is with the engine, whichever way it went.
    const { control } = this.#paths;
    if (control.cancel === undefined) return;
    for (let slot = 0; slot < this.#isPending.length; slot++) {
      const isFlush = this.#step[slot] === Step.FLUSH;
      if (this.#isPending[slot] === 1 && !isFlush) control.cancel(slot);
    }
  }

  close(): void {
    this.#paths.control.close();
    this.#paths.flushes.close();
    this.#paths.flushLane.leave();
  }
}
