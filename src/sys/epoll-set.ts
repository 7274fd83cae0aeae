/**
 * Descriptors to wait for together (epoll(7)), level-triggered: each counts for as long as it is
 * readable, and a set is readable itself while one of its descriptors is.
 *
 * SAFETY: the kernel uses the event buffer during calls only, which do not nest; it lives in mapped
 * memory as long as the thread's modules.
 */
import { strict as assert } from 'node:assert';
import { Epoll } from './constants.ts';
import { EPOLL_EVENT_BYTES, EPOLL_EVENT_DATA_AT } from './epoll-event.ts';
import { call, Errno, SystemError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './libc.ts';
import { Mapping } from './mapping.ts';

/** Events taken by one call: what is more is there still at the next. */
const MAX_EVENTS = 64;
/** What epoll_wait(2) takes for a time limit, and what for none. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const NO_TIMEOUT = -1;

const scratch = Mapping.anonymous(4096);
const events = new DataView(scratch.view(0, 4096));

/** See the module's comment. */
export class EpollSet implements Disposable {
  readonly #fd: Fd;

  constructor() {
    this.#fd = new Fd(call('epoll_create1', Epoll.CLOEXEC), 'epoll');
  }

  /** The set's own descriptor, for poll(2), epoll(7) and other sets. */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * Wait for a descriptor, too, until `remove`, or until all duplicates of it are closed.
   *
   * @throws SystemError EEXIST: it is in the set already; EPERM: of a kind that is always readable;
   *   ELOOP: sets within sets, too many for the kernel.
   */
  add(fd: number): void {
    events.setUint32(0, Epoll.IN, true);
    events.setUint32(EPOLL_EVENT_DATA_AT, fd, true);
    events.setUint32(EPOLL_EVENT_DATA_AT + 4, 0, true);
    call('epoll_ctl', this.#fd.number, Epoll.CTL_ADD, fd, scratch.address);
  }

  /** @throws SystemError ENOENT: it is not in the set. */
  remove(fd: number): void {
    call('epoll_ctl', this.#fd.number, Epoll.CTL_DEL, fd, scratch.address);
  }

  /**
   * Sleep until descriptors are readable, or have an error, or their peer has hung up.
   *
   * @param timeoutMs - no longer than that; 0: do not sleep.
   * @returns these descriptors, not always all; none if the time is up.
   */
  wait(timeoutMs: number = Number.POSITIVE_INFINITY): number[] {
    assert(timeoutMs >= 0, `a timeout of ${timeoutMs} ms`);
    const endMs = performance.now() + timeoutMs;
    let leftMs = timeoutMs;
    for (;;) {
      const limit = leftMs === Number.POSITIVE_INFINITY ? NO_TIMEOUT : Math.ceil(leftMs);
      const timeout = Math.min(limit, MAX_TIMEOUT_MS);
      const count = libc.epoll_wait(this.#fd.number, scratch.address, MAX_EVENTS, timeout);
      if (count > 0) return readable(count);
      const errno = count < 0 ? lastErrno() : 0;
      if (errno !== 0 && errno !== Errno.EINTR) throw new SystemError('epoll_wait', errno);
      leftMs = Math.max(0, endMs - performance.now());
      if (count === 0 && leftMs === 0) return [];
    }
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

function readable(count: number): number[] {
  const fds: number[] = [];
  for (let index = 0; index < count; index++) {
    fds.push(events.getUint32(index * EPOLL_EVENT_BYTES + EPOLL_EVENT_DATA_AT, true));
  }
  return fds;
}
