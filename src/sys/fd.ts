/**
 * Ownership of a file descriptor.
 *
 * SAFETY: only `Fd` closes descriptors. Whoever holds an `Fd` owns the number; `number` is lent for
 * the duration of a call or, with `release()`, given away. A descriptor closed twice may by then be
 * somebody else's, so a second `close()` throws.
 */
import { strict as assert } from 'node:assert';
import { Errno, SystemError } from './errors.ts';
import { lastErrno, libc } from './libc.ts';

/** An owned file descriptor. */
export class Fd implements Disposable {
  #number: number;
  /** What it is, for messages: `eventfd`, a path. */
  readonly what: string;

  constructor(number: number, what: string) {
    assert(Number.isInteger(number) && number >= 0, `not a file descriptor: ${number}`);
    this.#number = number;
    this.what = what;
  }

  /** The descriptor's number. Throws when it was closed or released. */
  get number(): number {
    assert(this.#number >= 0, `use of a closed file descriptor (${this.what})`);
    return this.#number;
  }

  /** False after `close()` or `release()`. */
  get isOpen(): boolean {
    return this.#number >= 0;
  }

  /** Give the ownership away: the caller closes the number from now on. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  /**
   * Close it. Throws an assertion error on a second call, and a `SystemError` if the kernel reports
   * one (EIO: earlier writes were lost); the number is free again either way (close(2)).
   */
  close(): void {
    const number = this.release();
    if (libc.close(number) === 0) return;
    const errno = lastErrno();
    // Linux frees the descriptor before it can be interrupted: EINTR here means closed.
    if (errno !== Errno.EINTR) throw new SystemError('close', errno, this.what);
  }

  /** Close it unless that has been done: for `using` and for clean-up after errors. */
  [Symbol.dispose](): void {
    if (this.isOpen) this.close();
  }
}

/** Close every descriptor of a list that is still open. */
export function closeAll(fds: readonly Fd[]): void {
  for (const fd of fds) fd[Symbol.dispose]();
}
