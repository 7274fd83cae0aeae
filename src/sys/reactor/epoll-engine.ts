/**
 * The epoll engine, for where io_uring is refused (containers, `kernel.io_uring_disabled`): kicks
 * and sockets are edge-triggered epoll entries, file I/O is done on the spot by the calling thread.
 *
 * SAFETY: the kernel fills the event buffer during `epoll_wait` only. Entry numbers, not pointers,
 * travel through the kernel, and a closed watch's number is not used again until the buffer that
 * may still name it has been read.
 */
import { Epoll } from '../constants.ts';
import { EPOLL_EVENT_BYTES, EPOLL_EVENT_DATA_AT } from '../epoll-event.ts';
import { call, Errno, SystemError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { type FileIo, type FileIoHandler, SyncFileIo } from '../file-io.ts';
import type { IovecTable } from '../iovec-table.ts';
import { lastErrno, libc } from '../libc.ts';
import { Mapping } from '../mapping.ts';
import type { CompletionEvent, Engine, Notifier, ReadinessHandler, Watch } from './engine.ts';
import { EpollCompletionEvent } from './epoll-completion-event.ts';
import { EpollNotifier } from './epoll-notifier.ts';

/** Events taken by one `epoll_wait`. */
const MAX_EVENTS = 64;
/**
 * `poll` is a system call here, and a busy ring polls without end: it looks at the descriptors at
 * every so many calls only. Before sleeping, `wait` looks in any case.
 */
const POLLS_PER_SYSCALL = 32;

/** See the module's comment. */
export class EpollEngine implements Engine {
  readonly name = 'epoll';
  readonly fd: Fd;
  readonly #block: Mapping;
  readonly #events: DataView;
  readonly #handlers: (ReadinessHandler | undefined)[] = [];
  readonly #freeNumbers: number[] = [];
  /** Numbers closed since the last `epoll_wait`. */
  readonly #closedNumbers: number[] = [];
  #pending = 0;
  #pollsUntilSyscall = 0;

  constructor() {
    this.fd = new Fd(call('epoll_create1', Epoll.CLOEXEC), 'epoll');
    this.#block = Mapping.anonymous(4096);
    this.#events = new DataView(this.#block.view(0, 4096));
  }

  watch(fd: number, handler: ReadinessHandler): Watch {
    const number = this.#freeNumbers.pop() ?? this.#handlers.length;
    this.#control(Epoll.CTL_ADD, fd, number);
    this.#handlers[number] = handler;
    return {
      close: () => {
        if (this.#handlers[number] !== handler) return;
        this.#handlers[number] = undefined;
        this.#closedNumbers.push(number);
        this.#control(Epoll.CTL_DEL, fd, number);
      },
    };
  }

  #control(operation: number, fd: number, number: number): void {
    // Behind the events of a wait, which may be under way: watches are closed by handlers.
    const at = MAX_EVENTS * EPOLL_EVENT_BYTES;
    this.#events.setUint32(at, (Epoll.IN | Epoll.RDHUP | Epoll.ET) >>> 0, true);
    this.#events.setUint32(at + EPOLL_EVENT_DATA_AT, number, true);
    this.#events.setUint32(at + EPOLL_EVENT_DATA_AT + 4, 0, true);
    call('epoll_ctl', this.fd.number, operation, fd, this.#block.address + at);
  }

  fileIo(fd: number, table: IovecTable, _handler: FileIoHandler): FileIo {
    return new SyncFileIo(fd, table);
  }

  poll(): boolean {
    if (this.#pending === 0) {
      if (this.#pollsUntilSyscall > 0) {
        this.#pollsUntilSyscall -= 1;
        return false;
      }
      this.#wait(0);
    }
    this.#pollsUntilSyscall = POLLS_PER_SYSCALL;
    const count = this.#pending;
    for (let index = 0; index < count; index++) {
      const number = this.#events.getUint32(index * EPOLL_EVENT_BYTES + EPOLL_EVENT_DATA_AT, true);
      this.#handlers[number]?.onReadable();
    }
    this.#pending = 0;
    this.#freeNumbers.push(...this.#closedNumbers);
    this.#closedNumbers.length = 0;
    return count > 0;
  }

  /** Whether `poll` has fetched events to deliver. */
  get hasPending(): boolean {
    return this.#pending > 0;
  }

  flush(): void {}

  wait(timeoutMs: number): void {
    if (this.#pending > 0) return;
    // Rounded up: waking early would only mean to sleep again.
    this.#wait(timeoutMs === Number.POSITIVE_INFINITY ? -1 : Math.ceil(timeoutMs));
  }

  #wait(timeoutMs: number): void {
    const count = libc.epoll_wait(this.fd.number, this.#block.address, MAX_EVENTS, timeoutMs);
    if (count >= 0) {
      this.#pending = count;
      return;
    }
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new SystemError('epoll_wait', errno);
  }

  createNotifier(onReady: () => void): Notifier {
    return new EpollNotifier(this, onReady);
  }

  createCompletionEvent(): CompletionEvent {
    return new EpollCompletionEvent(this);
  }

  [Symbol.dispose](): void {
    this.fd.close();
    this.#block.close();
  }
}
