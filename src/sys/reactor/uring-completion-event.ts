/**
 * Tells by a descriptor that an io_uring has completions: its eventfd, which the ring signals at
 * every completion, except while it is masked.
 *
 * Not for rings with IORING_SETUP_DEFER_TASKRUN. Those signal from the context of whatever caused
 * the completion, and when that is a write to an eventfd (a kick, a call), the kernel, which must
 * not nest such signals, puts this one off; it does so once, and drops all later ones (seen on
 * Linux 6.18, io_eventfd_signal). A plain ring signals from the ring's own thread.
 */
import type { IoUring } from '../io-uring/io-uring.ts';
import { Bell } from './bell.ts';
import type { CompletionEvent } from './engine.ts';

/** See the module's comment. */
export class UringCompletionEvent implements CompletionEvent {
  readonly #ring: IoUring;
  /** Rung by the ring. */
  readonly #bell = new Bell();

  /** @throws SystemError, and leaves nothing open. */
  constructor(ring: IoUring) {
    this.#ring = ring;
    ring.setEventFdEnabled(false);
    try {
      ring.registerEventFd(this.#bell.eventFd);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get fd(): number {
    return this.#bell.fd;
  }

  reset(): void {
    // Completions from here on are found by `poll`, or by `arm`.
    this.#ring.setEventFdEnabled(false);
    this.#bell.silence();
  }

  arm(): boolean {
    // Before the look: what is posted after it sees that the signal is wanted.
    this.#ring.setEventFdEnabled(true);
    this.#ring.submit();
    return !this.#ring.hasCompletions;
  }

  disarm(): void {
    this.reset();
  }

  ring(): void {
    this.#bell.ring();
  }

  close(): void {
    this.#bell[Symbol.dispose]();
  }
}
