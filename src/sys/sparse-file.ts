/**
 * Where a file has data and where it has holes (lseek(2), SEEK_DATA and SEEK_HOLE).
 *
 * SAFETY: numbers only. The descriptor's file position changes, which nothing here relies on: all
 * transfers name their offset.
 */
import { Seek } from './constants.ts';
import { Errno, SystemError } from './errors.ts';
import type { Fd } from './fd.ts';
import { lastErrno, libc } from './libc.ts';

function seek(file: Fd, offset: number, whence: number): number {
  const found = libc.lseek(file.number, offset, whence);
  if (found >= 0) return found;
  const errno = lastErrno();
  if (errno === Errno.ENXIO) return -1;
  throw new SystemError('lseek', errno);
}

/**
 * Offset of the first byte of data at `offset` or behind it; -1: there is none up to the end.
 * Throws a `SystemError` where files cannot tell.
 */
export function nextData(file: Fd, offset: number): number {
  return seek(file, offset, Seek.DATA);
}

/** As `nextData`, of the first hole; the end of the file is one. -1: `offset` is behind the end. */
export function nextHole(file: Fd, offset: number): number {
  return seek(file, offset, Seek.HOLE);
}
