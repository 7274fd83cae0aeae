/**
 * Errors of system calls, and the errno numbers the code decides by.
 */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { type LibcName, lastErrno, libc } from './libc.ts';

/** errno numbers of this platform by name (`errno(3)`). */
export const Errno: typeof constants.errno = constants.errno;

/** Result of a request that ran into end of file or device where it must not. */
export const IO_ERROR: number = -constants.errno.EIO;

/** `ENOSPC` for 28; numbers the platform does not name become `errno 28`. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[0] ?? `errno ${errno}`;
}

/** `no space left on device` for 28. */
export function errnoMessage(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? 'unknown error';
}

/**
 * A system call failed. `code` is the errno's name, as in Node's own errors: match on it.
 */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  /** The call, e.g. `mmap`. */
  readonly syscall: string;
  /** The positive errno number. */
  readonly errno: number;
  /** The errno's name, e.g. `ENOSPC`. */
  readonly code: string;

  constructor(syscall: string, errno: number, subject?: string) {
    const about = subject === undefined ? '' : ` ${subject}`;
    super(`${syscall}${about}: ${errnoName(errno)}: ${errnoMessage(errno)}`);
    this.syscall = syscall;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/**
 * The result of a system call that signals failure by -1, or a `SystemError`.
 *
 * @param subject - what the call was about, for the message: a path, a size.
 */
export function checked(syscall: string, result: number, subject?: string): number {
  if (result === -1) throw new SystemError(syscall, lastErrno(), subject);
  return result;
}

/** Call a C function by name, again after EINTR, and throw a `SystemError` if it fails. */
export function call<Name extends LibcName>(
  name: Name,
  ...args: Parameters<(typeof libc)[Name]>
): number {
  const bound = libc[name] as (...values: typeof args) => number;
  for (;;) {
    const result = bound(...args);
    if (result !== -1) return result;
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new SystemError(name, errno);
  }
}
