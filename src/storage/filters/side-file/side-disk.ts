/** Files that filters keep next to the disk below: sparse, locked, made when they are missing. */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, statSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Disk } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import { openFileDisk } from '../../file/open-file-disk.ts';
import type { OpenOptions } from '../../plan/disk-kind.ts';

/** Its contents are a disk's: nobody else's to read. */
const MODE = 0o600;

/**
 * Open a side file. One that is missing, or has no bytes, is made if it may be written: full of
 * zeros. Throws a `StorageError`.
 *
 * @param newBytes - size of a new one; `undefined`: none is made.
 */
export function openSideDisk(
  path: string,
  newBytes: number | undefined,
  options: OpenOptions,
): Disk {
  const readOnly = options.readOnly ?? false;
  if (!readOnly && newBytes !== undefined) create(path, newBytes);
  return openFileDisk({
    path,
    readOnly,
    cache: options.cache ?? 'writeback',
    locking: options.locking !== false,
  });
}

function create(path: string, bytes: number): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && (stats.size > 0 || !stats.isFile())) return;
  withNew(path, 'a', (fd) => ftruncateSync(fd, bytes));
}

function withNew<Result>(path: string, flags: string, use: (fd: number) => Result): Result {
  let fd: number | undefined;
  try {
    fd = openSync(path, flags, MODE);
    return use(fd);
  } catch (error) {
    if (error instanceof StorageError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'EFBIG' ? 'its file system has no files of that size' : message;
    throw new StorageError('DISK_OPEN_FAILED', `cannot make ${path}: ${reason}`, { cause: error });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * A file without a name, full of zeros, that is gone when it is closed, or the process ends. In
 * `TMPDIR`, else /tmp.
 */
export function openScratchDisk(bytes: number): Disk {
  const path = join(tmpdir(), `vhostkit-scratch-${randomBytes(8).toString('hex')}`);
  return withNew(path, 'wx', (fd) => {
    try {
      ftruncateSync(fd, bytes);
      return openFileDisk({ path, locking: false });
    } finally {
      unlinkSync(path);
    }
  });
}
