/**
 * What a request must keep to, checked before it reaches a driver. As in libblkio a request that
 * does not is completed with an error, it does not throw.
 */
import { DiskOperation } from '../storage/index.ts';
import { Errno } from '../sys/index.ts';
import type { DeviceLimits } from './driver.ts';
import { RequestFlag } from './request-flag.ts';

const FLAGS_OF_WRITES = RequestFlag.FUA;
const FLAGS_OF_ZEROES = RequestFlag.FUA | RequestFlag.NO_UNMAP | RequestFlag.NO_FALLBACK;

/** A reason for which a request is refused. */
export interface Refusal {
  /** Negative errno. */
  readonly result: number;
  readonly message: string;
}

function invalid(message: string): Refusal {
  return { result: -Errno.EINVAL, message };
}

/** See the module's comment. */
export class RequestRules {
  readonly #limits: DeviceLimits;
  readonly #capacityBytes: () => number;
  readonly #alignment: number;
  readonly #maxTransfer: number;
  /** The size when it was last asked for: asking may take a system call. */
  #knownBytes = 0;

  constructor(limits: DeviceLimits, capacityBytes: () => number) {
    this.#limits = limits;
    this.#capacityBytes = capacityBytes;
    this.#alignment = limits.requestAlignment;
    this.#maxTransfer = limits.maxTransfer === 0 ? Number.MAX_SAFE_INTEGER : limits.maxTransfer;
  }

  /** A read or write of `lengthBytes` in `pieces`. Undefined: it may go on. Allocates nothing. */
  refuseTransfer(
    operation: number,
    offset: number,
    lengthBytes: number,
    pieces: number,
    flags: number,
  ): Refusal | undefined {
    const isWrite = operation === DiskOperation.WRITE;
    const isPlain = flags === 0 || (isWrite && (flags & ~FLAGS_OF_WRITES) === 0);
    if (!isPlain) return invalid(`flags ${flags} of a ${isWrite ? 'write' : 'read'}`);
    if (isWrite && this.#limits.readOnly) return readOnlyRefusal();
    if (pieces > this.#limits.maxSegments) {
      return invalid(`${pieces} buffers: at most ${this.#limits.maxSegments} in a request`);
    }
    if (lengthBytes > this.#maxTransfer) {
      return invalid(`${lengthBytes} bytes: at most ${this.#maxTransfer} in a request`);
    }
    return this.#refusePlace(offset, lengthBytes, isWrite && this.#limits.canGrow);
  }

  /** A range to discard or zero. */
  refuseRange(
    operation: number,
    offset: number,
    lengthBytes: number,
    flags: number,
  ): Refusal | undefined {
    const limits = this.#limits;
    const isDiscard = operation === DiskOperation.DISCARD;
    if ((flags & ~(isDiscard ? 0 : FLAGS_OF_ZEROES)) !== 0) {
      return invalid(`flags ${flags} of ${isDiscard ? 'a discard' : 'write-zeroes'}`);
    }
    if (limits.readOnly) return readOnlyRefusal();
    if (!(isDiscard ? limits.canDiscard : limits.canWriteZeroes)) {
      const what = isDiscard ? 'discard' : 'write zeroes';
      return { result: -Errno.EOPNOTSUPP, message: `the device cannot ${what}` };
    }
    const maxBytes = isDiscard ? limits.maxDiscardLen : limits.maxWriteZeroesLen;
    if (maxBytes > 0 && lengthBytes > maxBytes) {
      return invalid(`${lengthBytes} bytes: at most ${maxBytes} in a request`);
    }
    return this.#refusePlace(offset, lengthBytes, false);
  }

  refuseFlush(flags: number): Refusal | undefined {
    return flags === 0 ? undefined : invalid(`flags ${flags} of a flush`);
  }

  #refusePlace(offset: number, lengthBytes: number, mayGrow: boolean): Refusal | undefined {
    const alignment = this.#alignment;
    if (!Number.isSafeInteger(offset) || offset < 0) return invalid(`offset ${offset}`);
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
      return invalid(`length ${lengthBytes}`);
    }
    if (offset % alignment !== 0 || lengthBytes % alignment !== 0) {
      const what = `${lengthBytes} bytes at ${offset}`;
      return invalid(`${what}: both must be multiples of ${alignment}`);
    }
    const end = offset + lengthBytes;
    if (mayGrow || end <= this.#knownBytes) return undefined;
    this.#knownBytes = this.#capacityBytes();
    if (end <= this.#knownBytes) return undefined;
    return invalid(`bytes ${offset} to ${end} of a device of ${this.#knownBytes}`);
  }
}

function readOnlyRefusal(): Refusal {
  return { result: -Errno.EBADF, message: 'the device is read-only' };
}
