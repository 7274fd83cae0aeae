/** Files by descriptor: opening, and transfers of whole buffers in native memory. */
import { Open } from './constants.ts';
import { call, Errno, SystemError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './libc.ts';

/** Open an existing file, close-on-exec. Throws a `SystemError` that names the path. */
export function openFile(path: string, flags: number): Fd {
  for (;;) {
    const fd = libc.open(path, flags | Open.CLOEXEC, 0);
    if (fd >= 0) return new Fd(fd, path);
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new SystemError('open', errno, path);
  }
}

/**
 * Another open file description of an open file, to read: also of one that has been deleted.
 * `undefined` where there is none to be had: without /proc, without permission, in a sandbox.
 */
export function openAgain(fd: number): Fd | undefined {
  try {
    return openFile(`/proc/self/fd/${fd}`, Open.RDONLY);
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

type Transfer = (fd: number, address: number, bytes: number, offset: number) => number;

/** @returns bytes transferred: fewer than asked for only at the end of file; or minus errno. */
function transferAll(
  transfer: Transfer,
  fd: number,
  address: number,
  bytes: number,
  offset: number,
): number {
  let done = 0;
  while (done < bytes) {
    const result = transfer(fd, address + done, bytes - done, offset + done);
    if (result === 0) return done;
    if (result > 0) {
      done += result;
      continue;
    }
    const errno = lastErrno();
    if (errno !== Errno.EINTR) return -errno;
  }
  return done;
}

/** Read `bytes` at `offset` into memory at `address`: bytes read, or a negative errno. */
export function readAt(fd: number, address: number, bytes: number, offset: number): number {
  return transferAll(libc.pread, fd, address, bytes, offset);
}

/** Write `bytes` at `offset` from memory at `address`: bytes written, or a negative errno. */
export function writeAt(fd: number, address: number, bytes: number, offset: number): number {
  return transferAll(libc.pwrite, fd, address, bytes, offset);
}

/** Make a regular file so large; what is added reads as zeros. Throws a `SystemError`. */
export function resizeFile(fd: number, bytes: number): void {
  call('ftruncate', fd, bytes);
}
