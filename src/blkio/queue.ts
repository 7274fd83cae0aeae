/**
 * A queue whose user asks for completions: blocking, polling or event-driven, in a script or a
 * worker. Requests are handed over by `doIo`, if not before. A queue belongs to one thread; the order
 * in which requests are done is undefined.
 */
import { DiskOperation } from '../storage/index.ts';
import type { Reactor } from '../sys/index.ts';
import type { CompletionFd } from './completion-fd.ts';
import type { CompletionList } from './completion-list.ts';
import { BlkioError } from './errors.ts';
import { NO_BUFFERS, type QueueCore } from './queue-core.ts';

/** A queue of `slots` completions, first in first out. */
class DoneSlots {
  readonly #slots: Int32Array;
  #first = 0;
  count = 0;

  constructor(slots: number) {
    this.#slots = new Int32Array(slots);
  }

  add(slot: number): void {
    this.#slots[(this.#first + this.count++) % this.#slots.length] = slot;
  }

  take(): number {
    const slot = this.#slots[this.#first];
    this.#first = (this.#first + 1) % this.#slots.length;
    this.count -= 1;
    return slot;
  }
}

/** How a queue is built from its parts. */
export interface QueueParts {
  readonly reactor: Reactor;
  readonly isPolled: boolean;
  readonly slots: number;
  /** If the queue is to have one. */
  readonly completionFd: CompletionFd | undefined;
  readonly openCore: (onComplete: (slot: number) => void) => QueueCore;
  /** Everything else is closed. */
  readonly onClose: () => void;
}

/** See the module's comment. */
export class Queue {
  readonly #reactor: Reactor;
  readonly #isPolled: boolean;
  readonly #done: DoneSlots;
  readonly #core: QueueCore;
  readonly #completionFd: CompletionFd | undefined;
  readonly #onClose: () => void;
  #interrupted = false;

  constructor(parts: QueueParts) {
    this.#reactor = parts.reactor;
    this.#isPolled = parts.isPolled;
    this.#done = new DoneSlots(parts.slots);
    this.#completionFd = parts.completionFd;
    this.#core = parts.openCore((slot) => {
      this.#done.add(slot);
      this.#completionFd?.ring();
    });
    this.#onClose = parts.onClose;
  }

  /** Requests whose completions have not been handed out. */
  get outstanding(): number {
    return this.#core.outstanding;
  }

  /** Requests so far whose data was copied because it lay outside of mapped regions. */
  get bounced(): number {
    return this.#core.bounced;
  }

  /**
   * Read into a buffer, which must not be touched until the request is done.
   *
   * @param userData - anything; comes back with the completion.
   */
  read(offsetBytes: number, buffer: Uint8Array, userData?: unknown, flags = 0): void {
    this.#core.transfer(DiskOperation.READ, offsetBytes, buffer, userData, flags);
  }

  /** Write from a buffer, which must not change until the request is done. */
  write(offsetBytes: number, buffer: Uint8Array, userData?: unknown, flags = 0): void {
    this.#core.transfer(DiskOperation.WRITE, offsetBytes, buffer, userData, flags);
  }

  /** Read into buffers, one after the other. */
  readv(offsetBytes: number, buffers: readonly Uint8Array[], userData?: unknown, flags = 0): void {
    this.#transferList(DiskOperation.READ, offsetBytes, buffers, userData, flags);
  }

  /** Write from buffers, one after the other. */
  writev(offsetBytes: number, buffers: readonly Uint8Array[], userData?: unknown, flags = 0): void {
    this.#transferList(DiskOperation.WRITE, offsetBytes, buffers, userData, flags);
  }

  /** Make a range read as zeros; its space is given back unless the flag NO_UNMAP forbids it. */
  writeZeroes(offsetBytes: number, lengthBytes: number, userData?: unknown, flags = 0): void {
    this.#range(DiskOperation.WRITE_ZEROES, offsetBytes, lengthBytes, userData, flags);
  }

  /** The data of a range is not needed any more. */
  discard(offsetBytes: number, lengthBytes: number, userData?: unknown, flags = 0): void {
    this.#range(DiskOperation.DISCARD, offsetBytes, lengthBytes, userData, flags);
  }

  /** Make stable what has been written by requests that are done. */
  flush(userData?: unknown, flags = 0): void {
    this.#range(DiskOperation.FLUSH, 0, 0, userData, flags);
  }

  #transferList(
    operation: number,
    offset: number,
    buffers: readonly Uint8Array[],
    token: unknown,
    flags: number,
  ): void {
    const lengthBytes = buffers.reduce((sum, { length }) => sum + length, 0);
    this.#core.submit({ operation, offset, lengthBytes, buffers, flags, token });
  }

  #range(
    operation: number,
    offset: number,
    lengthBytes: number,
    token: unknown,
    flags: number,
  ): void {
    const buffers = NO_BUFFERS;
    this.#core.submit({ operation, offset, lengthBytes, buffers, flags, token });
  }

  /**
   * The completion descriptor (blkioq_get_completion_fd), for poll(2), epoll(7) or an `EpollSet`.
   * While it is enabled it is readable, level-triggered, whenever there may be completions that
   * `doIo(completions, 0)` would take; perhaps once too often, never too seldom. So whoever has
   * taken everything by such a call may sleep until it is readable, or make more requests, and call
   * again to hand them over.
   *
   * Unlike libblkio's it is not an eventfd, and not to be read from: `doIo` resets it, and what that
   * leaves (`max`) keeps it readable. The queue closes it.
   *
   * @throws BlkioError ENOTSUP: the queue was opened without.
   */
  get completionFd(): number {
    return this.#openCompletionFd.number;
  }

  /**
   * Whether completions make the completion descriptor readable; not at first. Those that are there
   * already do. Throws as `completionFd`.
   */
  setCompletionFdEnabled(isEnabled: boolean): void {
    this.#openCompletionFd.setEnabled(isEnabled, this.#done.count > 0);
  }

  get #openCompletionFd(): CompletionFd {
    if (this.#completionFd !== undefined) return this.#completionFd;
    throw new BlkioError('ENOTSUP', 'the queue was opened without a completion descriptor');
  }

  /**
   * Hand over requests and take completions.
   *
   * @param completions - filled anew.
   * @param min - wait until there are so many; 0: do not wait. On a poll queue waiting keeps the
   *   processor busy.
   * @param max - take at most so many.
   * @param timeoutMs - wait no longer than that.
   * @returns how many there are now in `completions`, at least `min`.
   * @throws BlkioError EINVAL: `min` is above `max` or above what is outstanding, `max` is more than
   *   `completions` can take, or a number is negative; ETIME: the time is up; EINTR: `interrupt` was
   *   called; ENOTCONN: the back-end is gone, and connecting to it again takes the event loop:
   *   await something, then call again. After these three `completions` may hold some, but less
   *   than `min`. While the completion descriptor is enabled, a call that does not wait is taken to
   *   be followed by a sleep: it throws ENOTCONN, too, if it has nothing to give.
   */
  doIo(
    completions: CompletionList,
    min: number,
    max: number = completions.capacity,
    timeoutMs: number = Number.POSITIVE_INFINITY,
  ): number {
    this.#checkCounts(completions, min, max);
    if (!(timeoutMs >= 0)) throw new BlkioError('EINVAL', `a timeout of ${timeoutMs} ms`);
    completions.clear();
    this.#completionFd?.beginIo();
    try {
      this.#core.flush();
      // Before there is any talk of sleeping: the wait alone costs as much as a cached read.
      this.#reactor.submit();
      if (this.#done.count < min) this.#waitFor(completions, min, timeoutMs);
      else this.#reactor.turn();
      this.#handOut(completions, max);
      if (this.#completionFd?.isEnabled) this.#checkSleep(completions);
    } finally {
      this.#completionFd?.endIo(this.#done.count > 0);
    }
    return completions.count;
  }

  /** To sleep until the descriptor is readable must not be for ever. */
  #checkSleep(completions: CompletionList): void {
    const hasSome = completions.count + this.#done.count > 0;
    if (!hasSome && this.#core.outstanding > 0) this.#checkReachable();
  }

  #checkReachable(): void {
    if (!this.#core.needsEventLoop) return;
    const what = 'the device is out of reach; it is looked for while the event loop runs';
    throw new BlkioError('ENOTCONN', what);
  }

  /**
   * Have the `doIo` that waits, or else the next one that would, throw EINTR. From the queue's own
   * thread: a handler of a signal or of an event cannot know whether the wait has begun.
   */
  interrupt(): void {
    this.#interrupted = true;
  }

  #checkCounts(completions: CompletionList, min: number, max: number): void {
    const isRight = Number.isInteger(min) && Number.isInteger(max) && min >= 0 && min <= max;
    if (!isRight) throw new BlkioError('EINVAL', `${min} to ${max} completions`);
    if (max > completions.capacity) {
      const text = `${max} completions: the list takes ${completions.capacity}`;
      throw new BlkioError('EINVAL', text);
    }
    if (min > this.#core.outstanding) {
      const text = `${min} completions: only ${this.#core.outstanding} requests are outstanding`;
      throw new BlkioError('EINVAL', text);
    }
  }

  #waitFor(completions: CompletionList, min: number, timeoutMs: number): void {
    const reactor = this.#reactor;
    const done = this.#done;
    const isLimited = timeoutMs !== Number.POSITIVE_INFINITY;
    const endMs = isLimited ? performance.now() + timeoutMs : 0;
    let isFirst = true;
    for (;;) {
      // What waits in line needs the slots, or the memory, of those that are done.
      if (this.#core.isWaiting) this.#handOut(completions, min);
      if (completions.count + done.count >= min) return;
      this.#checkReachable();
      if (this.#interrupted) {
        this.#interrupted = false;
        throw new BlkioError('EINTR', 'the wait was interrupted');
      }
      // Without a limit there is no number to pass, which would be boxed.
      const leftMs = isLimited ? endMs - performance.now() : 0;
      if (isLimited && leftMs <= 0 && !isFirst) {
        throw new BlkioError('ETIME', `not within ${timeoutMs} ms`);
      }
      // Sleeping hands over what is new, too: one system call for both.
      if (!this.#isPolled && reactor.prepareToSleep()) {
        if (isLimited) reactor.sleep(Math.max(leftMs, 0));
        else reactor.sleep();
      }
      reactor.turn();
      isFirst = false;
    }
  }

  #handOut(completions: CompletionList, max: number): void {
    const core = this.#core;
    while (completions.count < max && this.#done.count > 0) {
      const slot = this.#done.take();
      completions.add(core.results[slot], core.tokens[slot], core.messages[slot]);
      core.release(slot);
    }
    core.flush();
  }

  /** Nothing may be outstanding. */
  close(): void {
    this.#core.close();
    this.#completionFd?.[Symbol.dispose]();
    this.#reactor[Symbol.dispose]();
    this.#onClose();
  }
}
