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
function nextData(file: Fd, offset: number): number {
  return seek(file, offset, Seek.DATA);
}

/** As `nextData`, of the first hole; the end of the file is one. -1: `offset` is behind the end. */
function nextHole(file: Fd, offset: number): number {
  return seek(file, offset, Seek.HOLE);
}

/** From `start` to before `end`. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

/** A file's ranges of data, in order. A file system that does not know has one. */
export function* dataRanges(file: Fd, sizeBytes: number): Generator<DataRange> {
  let at = 0;
  while (at < sizeBytes) {
    const range = dataAfter(file, at, sizeBytes);
    if (range === undefined) return;
    yield range;
    at = range.end;
  }
}

function dataAfter(file: Fd, at: number, sizeBytes: number): DataRange | undefined {
  try {
    const start = nextData(file, at);
    if (start < 0 || start >= sizeBytes) return undefined;
    const hole = nextHole(file, start);
    return { start, end: hole < 0 ? sizeBytes : Math.min(hole, sizeBytes) };
  } catch (error) {
    if (error instanceof SystemError) return { start: at, end: sizeBytes };
    throw error;
  }
}
