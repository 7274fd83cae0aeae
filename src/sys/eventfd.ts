/**
 * Event counters (eventfd(2)): kicks, calls and wake-ups.
 *
 * SAFETY: `signal` writes from a constant in mapped memory that lives as long as the process.
 */
import { fstatSync, readlinkSync } from 'node:fs';
import { Epoll, EventFdFlag, ReadWriteFlag } from './constants.ts';
import { call, Errno, SystemError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './libc.ts';
import { Mapping } from './mapping.ts';
import { FOREVER, pollDescriptor } from './poll.ts';

const scratch = Mapping.anonymous(4096);
const ONE_ADDRESS = scratch.address;
const VALUE_ADDRESS = scratch.address + 8;
const IOVEC_ADDRESS = scratch.address + 16;
const words = new BigUint64Array(scratch.view(0, 32));
words[0] = 1n;
words[2] = BigInt(VALUE_ADDRESS);
words[3] = 8n;
/** File type bits of st_mode: an event counter has none. */
const FILE_TYPE_MASK = 0o170000;

/** A new event counter at zero; non-blocking unless a thread is to sleep in `drainEvent`. */
export function createEventFd(options: { blocking?: boolean } = {}): Fd {
  const flags = EventFdFlag.CLOEXEC | (options.blocking ? 0 : EventFdFlag.NONBLOCK);
  return new Fd(call('eventfd', 0, flags), 'eventfd');
}

/**
 * Whether a descriptor is an event counter. Without /proc it cannot be told from others that are
 * no files, pipes or sockets either (epoll(7), inotify(7)).
 */
export function isEventFd(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';
  } catch {
    return (fstatSync(fd).mode & FILE_TYPE_MASK) === 0;
  }
}

/**
 * Add one to a counter: this wakes whoever waits for it. Used on the data path: it allocates
 * nothing and reports failure by its result.
 *
 * @returns 0, or a negative errno. EAGAIN (the counter is full) counts as success: the reader has
 * not yet seen earlier signals, so it will see this one with them.
 */
export function signalEvent(fd: number): number {
  for (;;) {
    if (libc.write(fd, ONE_ADDRESS, 8) === 8) return 0;
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return 0;
    if (errno !== Errno.EINTR) return -errno;
  }
}

/** Take the counter's value and set it to zero; 0 if there was nothing (non-blocking). */
export function drainEvent(fd: number): number {
  for (;;) {
    if (libc.read(fd, VALUE_ADDRESS, 8) === 8) return Number(words[1]);
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return 0;
    if (errno !== Errno.EINTR) throw new SystemError('read', errno, 'eventfd');
  }
}

/**
 * Sleep until a counter is not zero, take its value (0 if somebody else did first) and set it to
 * zero. Unlike `drainEvent` it sleeps whatever mode the descriptor is in: its mode belongs to all
 * who share it, and some back-ends make the descriptors they are sent non-blocking.
 */
export function awaitEvent(fd: number): number {
  pollDescriptor(fd, Epoll.IN, FOREVER);
  return drainEvent(fd);
}

/** Whether a counter is above zero. Leaves it as it is, and never waits. */
export function isSignalled(fd: number): boolean {
  return pollDescriptor(fd, Epoll.IN, 0);
}

/**
 * Take a counter's value without ever waiting, whatever mode its descriptor is in: for counters
 * that somebody else controls. Returns 0 if there was nothing, or the kernel cannot do it (before
 * Linux 5.8).
 */
function takeEventCount(fd: number): number {
  const bytes = libc.preadv2(fd, IOVEC_ADDRESS, 1, -1, ReadWriteFlag.NOWAIT);
  return bytes === 8 ? Number(words[1]) : 0;
}

/**
 * Set free whoever waits in a write to a counter that is full, by taking its count; who was waiting
 * adds to it again, so the reader misses nothing. A counter that is not full is left alone.
 */
export function relieveFullEvent(fd: number): void {
  if (!pollDescriptor(fd, Epoll.OUT, 0)) takeEventCount(fd);
}
