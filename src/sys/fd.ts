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
import { noteDescriptor, strikeDescriptor } from './thread-ledger.ts';

/** An owned file descriptor. */
export class Fd implements Disposable {
  #number: number;
  /** What it is, for messages: `eventfd`, a path. */
  readonly what: string;

  constructor(number: number, what: string) {
    assert(Number.isInteger(number) && number >= 0, `not a file descriptor: ${number}`);
    this.#number = number;
    this.what = what;
    noteDescriptor(number);
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
    // Before it is closed: after that it may be another thread's.
    strikeDescriptor(number);
    return number;
  }

  /**
   * Close it. Throws an assertion error on a second call, and a `SystemError` EBADF if somebody else
   * has closed the number. Other errors (EIO, EINTR) say that it is closed, and that writes may be
   * lost, which nobody may rely on without fdatasync; with descriptors of others, such as a
   * front-end's memory, they are the others' to choose.
   */
  close(): void {
    const number = this.release();
    if (libc.close(number) === 0) return;
    const errno = lastErrno();
    if (errno === Errno.EBADF) throw new SystemError('close', errno, this.what);
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
