/** Has the n-th operation of a file disk end otherwise than well. */
import { Errno, readAt, writeAt } from '../../src/sys/index.ts';
import { libc } from '../../src/sys/libc.ts';
import type { FileObserver, FileOperation } from './watched-file.ts';

const SECTOR_BYTES = 512;

/** How it ends. `short` stops at a sector, `odd` within one, `nothing` before the first byte. */
export const FILE_FAULTS = [
  'EIO',
  'ENOSPC',
  'EAGAIN',
  'EINTR',
  'EOPNOTSUPP',
  'short',
  'odd',
  'nothing',
] as const;

export type FileFault = (typeof FILE_FAULTS)[number];

/** Faults after which the request is carried through. */
export function isTransient(fault: FileFault): boolean {
  return fault === 'EAGAIN' || fault === 'EINTR' || fault === 'short' || fault === 'odd';
}

/** See the module's comment. */
export class FileFaults implements FileObserver {
  /** The file, to do a part of a transfer. */
  fd = -1;
  /** Operations so far. */
  count = 0;
  /** The one that has been tampered with. */
  faulted: FileOperation | undefined;
  readonly #number: number;
  readonly #fault: FileFault;
  readonly #times: number;

  /** @param times - so many operations from the n-th on. */
  constructor(number: number, fault: FileFault, times = 1) {
    this.#number = number;
    this.#fault = fault;
    this.#times = times;
  }

  onStart(operation: FileOperation): number | undefined {
    const number = this.count;
    this.count += 1;
    if (number < this.#number || number >= this.#number + this.#times) return undefined;
    const result = this.#resultOf(operation);
    if (result !== undefined) this.faulted ??= operation;
    return result;
  }

  onEnd(): void {}

  #resultOf(operation: FileOperation): number | undefined {
    const fault = this.#fault;
    const isTransfer = operation.kind === 'read' || operation.kind === 'write';
    switch (fault) {
      case 'short':
        return isTransfer ? this.#part(operation, shortBytes(operation)) : undefined;
      case 'odd':
        return isTransfer ? this.#part(operation, operation.pieces[0][1] - 100) : undefined;
      case 'nothing':
        return isTransfer ? 0 : undefined;
      case 'EOPNOTSUPP':
        // Of transfers and syncs nobody has ever said that.
        return operation.kind === 'zero' || operation.kind === 'discard'
          ? -Errno.EOPNOTSUPP
          : undefined;
      case 'EIO':
      case 'ENOSPC':
      case 'EAGAIN':
      case 'EINTR':
        return -Errno[fault];
    }
  }

  /** Do the start of a transfer. Buffers that tell of no request take all, or an error. */
  #part(
    { kind, slot, offset, pieces, isStable }: FileOperation,
    bytes: number,
  ): number | undefined {
    const [address, length] = pieces[0];
    if (bytes <= 0 || slot < 0) return undefined;
    // Of direct transfers only whole sectors can be done: more than is told of.
    const done = Math.min(length, Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES);
    if (kind === 'read') {
      if (readAt(this.fd, address, done, offset) < bytes) return undefined;
      // What is not told of must not be relied on.
      libc.memset(address + bytes, 0xdd, length - bytes);
      return bytes;
    }
    const written = writeAt(this.fd, address, done, offset);
    if (written < bytes) throw new Error(`cannot write a part: ${written}`);
    if (isStable) libc.fdatasync(this.fd);
    return bytes;
  }
}

function shortBytes({ pieces }: FileOperation): number {
  const [, length] = pieces[0];
  return pieces.length > 1 ? length : Math.floor(length / 2 / SECTOR_BYTES) * SECTOR_BYTES;
}
