/**
 * The data path of the file disk: one queue's requests on one file.
 *
 * A request is a sequence of steps (system calls or ring submissions), each chosen from what the
 * step before gave: a short read goes on where it stopped, a refused `fallocate` is followed by the
 * next best way to zero. `#issue` starts a step, `#conclude` judges its result; in between the
 * step may be pending.
 */
import {
  discardRange,
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
  SYNC: 5,
} as const;

/** Verdict on a step: the request is not finished. Neither 0 nor an errno nor `PENDING`. */
const GO_ON = 1;

/** The ways into the file that a channel works with. */
export interface FilePaths {
  readonly fd: number;
  readonly reads: FileIo;
  readonly writes: Writer;
  /** For the rest; the path to close. */
  readonly control: FileIo;
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

/** See the module's comment. */
export class FileChannel implements DiskChannel, FileIoHandler {
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  readonly #paths: FilePaths;
  readonly #reads: FileIo;
  readonly #writes: Writer;
  readonly #unaligned: UnalignedIo | undefined;
  readonly #step: Uint8Array;
  readonly #doneBytes: Float64Array;
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
    this.#doneBytes = new Float64Array(requests.slots);
  }

  start(slot: number): number {
    const operation = this.#requests.operation[slot];
    this.#doneBytes[slot] = 0;
    if (operation <= DiskOperation.WRITE) {
      const unaligned = this.#unaligned;
      if (unaligned !== undefined && !unaligned.isAligned(this.#requests, slot)) {
        return this.#bounce(unaligned, slot);
      }
      this.#step[slot] = Step.TRANSFER;
    } else {
      this.#step[slot] = this.#firstStep(slot, operation);
    }
    return this.#run(slot);
  }

  onFileIo(slot: number, result: number): void {
    let verdict = this.#conclude(slot, result);
    if (verdict === GO_ON) verdict = this.#run(slot);
    if (verdict !== PENDING) this.#handler.onDiskDone(slot, verdict);
  }

  /** Issue steps until one is pending or the request is done. */
  #run(slot: number): number {
    for (;;) {
      const result = this.#issue(slot);
      if (result === PENDING) return PENDING;
      const verdict = this.#conclude(slot, result);
      if (verdict !== GO_ON) return verdict;
    }
  }

  #firstStep(slot: number, operation: number): number {
    if (operation === DiskOperation.FLUSH) return Step.SYNC;
    if (operation === DiskOperation.DISCARD) {
      return this.#paths.isBlockDevice ? Step.DEVICE_DISCARD : Step.PUNCH;
    }
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
        return discardRange(this.#paths.fd, offset, length);
      case Step.PUNCH:
        return this.#paths.control.fallocate(slot, PUNCH, offset, length);
      case Step.ZERO_IN_PLACE:
        return this.#paths.control.fallocate(slot, ZERO_IN_PLACE, offset, length);
      case Step.WRITE_ZERO_PAGES:
        return this.#writeZeros(slot, offset, length);
      default:
        return this.#paths.control.fdatasync(slot);
    }
  }

  /** Zero some of what is left by writing. */
  #writeZeros(slot: number, offset: number, length: number): number {
    const done = this.#doneBytes[slot];
    let left = length - done;
    const unaligned = this.#unaligned;
    if (unaligned !== undefined) {
      const edge = unaligned.zeroEdge(offset + done, left);
      if (edge !== 0) return edge;
      left = unaligned.wholeBlocks(left);
    }
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
    switch (this.#step[slot]) {
      case Step.TRANSFER:
        return this.#concludeTransfer(slot, result);
      case Step.DEVICE_DISCARD:
        // A hint that cannot be followed is not an error.
        return isRefused(result) ? 0 : result;
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
      default:
        return result;
    }
  }

  #concludeTransfer(slot: number, result: number): number {
    if (result < 0) return result;
    const requests = this.#requests;
    const done = this.#doneBytes[slot] + result;
    const length = requests.lengthBytes[slot];
    if (done === length) return 0;
    this.#doneBytes[slot] = done;
    requests.iovecs.advance(slot, result);
    const isRead = requests.operation[slot] === DiskOperation.READ;
    if (result === 0 && !isRead) return IO_ERROR;
    // Direct reads stop in the middle of a block only where the file ends.
    const isAtEnd =
      result === 0 || (this.#unaligned !== undefined && !this.#unaligned.isAligned(requests, slot));
    if (!isRead || !isAtEnd) return GO_ON;
    requests.iovecs.zero(slot, length - done);
    return 0;
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

  close(): void {
    this.#paths.control.close();
  }
}
