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

/** Writes to one file. */
export interface Writer {
  /**
   * Write a slot's list; returns `PENDING` or the result.
   *
   * @param flags - 0 or `ReadWriteFlag.DSYNC`: on stable storage when it completes.
   */
  writev(slot: number, offsetLow: number, offsetHigh: number, flags: number): number;
}

/** Operations on one file. Each returns `PENDING` or its result. */
export interface FileIo extends Writer {
  readv(slot: number, offsetLow: number, offsetHigh: number): number;
  fdatasync(slot: number): number;
  /** @param mode - `Fallocate` flags. */
  fallocate(slot: number, mode: number, offsetBytes: number, lengthBytes: number): number;
  /**
   * Have a pending operation end soon: with -ECANCELED or -EINTR if it was not done, or not all of
   * it, else with its result. Once it has ended, nothing of it goes on in the kernel. Absent: no
   * operation is ever pending.
   */
  cancel?(slot: number): void;
  /** No operation may be pending. */
  close(): void;
}

/** The number behind two 32-bit halves. */
export function joinHalves(low: number, high: number): number {
  return (high >>> 0) * 2 ** 32 + (low >>> 0);
}

// Bound to constants of their own: a property of the table would be looked up in every call.
const { pread, preadv, pwrite, pwritev, pwritev2 } = libc;

/**
 * `FileIo` by plain system calls in the calling thread: never `PENDING`. Lists of one piece, which
 * are most, take the calls that need not fetch a list.
 */
export class SyncFileIo implements FileIo {
  readonly #fd: number;
  readonly #table: IovecTable;
  readonly #words: Int32Array;

  constructor(fd: number, table: IovecTable) {
    this.#fd = fd;
    this.#table = table;
    this.#words = table.words;
  }

  readv(slot: number, offsetLow: number, offsetHigh: number): number {
    const offset = joinHalves(offsetLow, offsetHigh);
    for (;;) {
      const done = this.#read(slot, offset);
      if (done >= 0) return done;
      const errno = lastErrno();
      if (errno !== Errno.EINTR) return -errno;
    }
  }

  #read(slot: number, offset: number): number {
    const table = this.#table;
    const count = table.remaining(slot);
    if (count !== 1) return preadv(this.#fd, table.address(slot), count, offset);
    const at = table.firstWord(slot);
    const address = joinHalves(this.#words[at], this.#words[at + 1]);
    return pread(this.#fd, address, this.#words[at + 2], offset);
  }

  writev(slot: number, offsetLow: number, offsetHigh: number, flags: number): number {
    const offset = joinHalves(offsetLow, offsetHigh);
    for (;;) {
      const done = this.#write(slot, offset, flags);
      if (done >= 0) return done;
      const errno = lastErrno();
      if (errno !== Errno.EINTR) return -errno;
    }
  }

  #write(slot: number, offset: number, flags: number): number {
    const table = this.#table;
    const count = table.remaining(slot);
    if (flags !== 0) return pwritev2(this.#fd, table.address(slot), count, offset, flags);
    if (count !== 1) return pwritev(this.#fd, table.address(slot), count, offset);
    const at = table.firstWord(slot);
    const address = joinHalves(this.#words[at], this.#words[at + 1]);
    return pwrite(this.#fd, address, this.#words[at + 2], offset);
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
