/**
 * Positional I/O on one file, as the data path uses it: either done on the spot or completed later.
 *
 * The lists come from an `IovecTable`; the caller's token is the slot number. Offsets are given as
 * two 32-bit halves so that nothing is allocated. Results are byte counts or negative errno
 * values; a short count is a result like any other, finishing the transfer is the caller's job.
 */
import { Errno } from './errors.ts';
import type { IovecTable } from './iovec-table.ts';
import { lastErrno, libc } from './libc.ts';

/** Returned by operations that will complete later. No errno and no byte count has this value. */
export const PENDING: number = -(2 ** 30);

/** Told about operations that returned `PENDING`, exactly once each. */
export interface FileIoHandler {
  /** @param result - bytes transferred (0 for operations without data), or a negative errno. */
  onFileIo(slot: number, result: number): void;
}

/** Operations on one file. Each returns `PENDING` or its result. */
export interface FileIo {
  readv(slot: number, offsetLow: number, offsetHigh: number): number;
  /** @param flags - 0 or `ReadWriteFlag.DSYNC`: on stable storage when it completes. */
  writev(slot: number, offsetLow: number, offsetHigh: number, flags: number): number;
  fdatasync(slot: number): number;
  /** @param mode - `Fallocate` flags. */
  fallocate(slot: number, mode: number, offsetBytes: number, lengthBytes: number): number;
  /** No operation may be pending. */
  close(): void;
}

/** The number behind two 32-bit halves. */
export function joinHalves(low: number, high: number): number {
  return (high >>> 0) * 2 ** 32 + (low >>> 0);
}

/** `FileIo` by plain system calls in the calling thread: never `PENDING`. */
export class SyncFileIo implements FileIo {
  readonly #fd: number;
  readonly #table: IovecTable;

  constructor(fd: number, table: IovecTable) {
    this.#fd = fd;
    this.#table = table;
  }

  readv(slot: number, offsetLow: number, offsetHigh: number): number {
    const table = this.#table;
    const offset = joinHalves(offsetLow, offsetHigh);
    for (;;) {
      const done = libc.preadv(this.#fd, table.address(slot), table.remaining(slot), offset);
      if (done >= 0) return done;
      const errno = lastErrno();
      if (errno !== Errno.EINTR) return -errno;
    }
  }

  writev(slot: number, offsetLow: number, offsetHigh: number, flags: number): number {
    const table = this.#table;
    const offset = joinHalves(offsetLow, offsetHigh);
    for (;;) {
      const address = table.address(slot);
      const count = table.remaining(slot);
      const done =
        flags === 0
          ? libc.pwritev(this.#fd, address, count, offset)
          : libc.pwritev2(this.#fd, address, count, offset, flags);
      if (done >= 0) return done;
      const errno = lastErrno();
      if (errno !== Errno.EINTR) return -errno;
    }
  }

  fdatasync(_slot: number): number {
    return libc.fdatasync(this.#fd) === 0 ? 0 : -lastErrno();
  }

  fallocate(_slot: number, mode: number, offsetBytes: number, lengthBytes: number): number {
    for (;;) {
      if (libc.fallocate(this.#fd, mode, offsetBytes, lengthBytes) === 0) return 0;
      const errno = lastErrno();
      if (errno !== Errno.EINTR) return -errno;
    }
  }

  close(): void {}
}
