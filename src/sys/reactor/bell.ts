/**
 * A descriptor that is made readable by hand, and while one of some others is: what completion
 * events are made of.
 */
import { EpollSet } from '../epoll-set.ts';
import { createEventFd, drainEvent, signalEvent } from '../eventfd.ts';
import { closeAll, type Fd } from '../fd.ts';

/** See the module's comment. */
export class Bell implements Disposable {
  readonly #eventFd: Fd;
  readonly #set: EpollSet;

  /** @throws SystemError, and leaves nothing open. */
  constructor() {
    this.#eventFd = createEventFd();
    try {
      this.#set = new EpollSet();
      this.#set.add(this.#eventFd.number);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Number of the descriptor: an epoll descriptor, not to be read from. */
  get fd(): number {
    return this.#set.fd;
  }

  /** Number of the eventfd that is signalled by `ring`; others may do that, too. */
  get eventFd(): number {
    return this.#eventFd.number;
  }

  /** Readable until `silence`. */
  ring(): void {
    signalEvent(this.#eventFd.number);
  }

  /** Forget that it was rung. */
  silence(): void {
    drainEvent(this.#eventFd.number);
  }

  /** Readable while another descriptor is, too. */
  add(fd: number): void {
    this.#set.add(fd);
  }

  remove(fd: number): void {
    this.#set.remove(fd);
  }

  [Symbol.dispose](): void {
    // Absent if it could not be made.
    (this.#set as EpollSet | undefined)?.[Symbol.dispose]();
    closeAll([this.#eventFd]);
  }
}
