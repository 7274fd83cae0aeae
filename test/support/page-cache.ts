/** What the kernel's page cache holds of a file: whether data is where it was promised to be. */
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMemoryBacked, Mapping } from '../../src/sys/index.ts';
import { libc } from '../../src/sys/libc.ts';

/** The same number on all machines; Linux 6.5 and later. */
const CACHESTAT = 451;
/** In 64-bit words: a range (offset, length), then the counts. */
const RANGE_WORDS = 2;
const DIRTY = 1;
const WRITEBACK = 2;

/**
 * Pages of a file that are not on stable storage: changed, or just being written. Counted by
 * cachestat(2); `undefined` where there is none.
 */
export function unstablePages(path: string): number | undefined {
  using scratch = Mapping.anonymous(4096);
  const words = new BigUint64Array(scratch.view(0, 4096));
  const fd = openSync(path, 'r');
  const counts = scratch.address + RANGE_WORDS * 8;
  const result = libc.syscall(CACHESTAT, fd, scratch.address, counts, 0, 0, 0);
  closeSync(fd);
  if (result !== 0) return undefined;
  return Number(words[RANGE_WORDS + DIRTY] + words[RANGE_WORDS + WRITEBACK]);
}

/** The kernel writes what is in the cache when it likes: what it leaves there now and then is there. */
const STABLE_TRIES = 3;

/** Whether a file has all pages on stable storage each time that `write` has been done. */
export async function isStableAfter(path: string, write: () => Promise<unknown>): Promise<boolean> {
  for (let tries = 0; tries < STABLE_TRIES; tries++) {
    await write();
    if (unstablePages(path) !== 0) return false;
  }
  return true;
}

/** Why pages that are not stable cannot be counted for files in the folder for tests, or false. */
export function missingStableCounts(): string | false {
  return withProbe((path, fd) => {
    if (isMemoryBacked(fd)) return `${tmpdir()} is in memory; set TMPDIR to a folder on a disk`;
    if (unstablePages(path) === undefined) return 'no cachestat(2); needs Linux 6.5';
    return false;
  });
}

/** Why there is no direct I/O on files in the folder for tests, or false. */
export function missingDirectIo(): string | false {
  return withProbe((path) => {
    try {
      closeSync(openSync(path, constants.O_RDWR | constants.O_DIRECT));
      return false;
    } catch {
      return `no direct I/O in ${tmpdir()}; set TMPDIR to a folder on a disk`;
    }
  });
}

function withProbe(probe: (path: string, fd: number) => string | false): string | false {
  const folder = mkdtempSync(join(tmpdir(), 'page-cache-'));
  const path = join(folder, 'probe');
  const fd = openSync(path, 'w');
  try {
    return probe(path, fd);
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
}
