/**
 * The io_uring engine: kicks and sockets are multishot polls, file I/O goes straight from and to
 * the caller's memory, and one `io_uring_enter` submits all of it and sleeps.
 *
 * A completion's user data is (target index, token): the index finds the object that waits for it,
 * the token is that object's own business (a request slot).
 */
import { strict as assert } from 'node:assert';
import { Epoll } from '../constants.ts';
import { Errno } from '../errors.ts';
import { type FileIo, type FileIoHandler, PENDING } from '../file-io.ts';
import { Cqe, FSYNC_DATASYNC, Op, POLL_ADD_MULTI, Sqe } from '../io-uring/constants.ts';
import { FixedFiles } from '../io-uring/fixed-files.ts';
import { type CompletionSink, IoUring } from '../io-uring/io-uring.ts';
import type { IovecTable } from '../iovec-table.ts';
import type {
  CompletionEvent,
  Engine,
  FileIoOptions,
  Notifier,
  ReadinessHandler,
  Watch,
} from './engine.ts';
import { UringCompletionEvent } from './uring-completion-event.ts';
import { UringNotifier } from './uring-notifier.ts';

/** Submissions a ring holds before they must be handed over: a batch of the deepest queue. */
const RING_ENTRIES = 512;
/** Requests of a file under way up to which each is submitted at once, where that is wanted. */
const MAX_EAGER = 64;
/** Target of completions nobody waits for. */
const NOBODY = 0;

/** Somebody completions are addressed to. */
interface Target {
  onCompletion(token: number, result: number, flags: number): void;
}

/** See the module's comment. */
export class UringEngine implements Engine, CompletionSink {
  readonly name = 'io_uring';
  readonly ring: IoUring;
  readonly files: FixedFiles;
  readonly #deferTaskRun: boolean;
  readonly #targets: (Target | undefined)[] = [undefined];
  readonly #freeTargets: number[] = [];

  /** @param deferTaskRun - kernel work only in this thread's own calls: not for Node's loop. */
  constructor(deferTaskRun: boolean) {
    this.ring = new IoUring({ entries: RING_ENTRIES, deferTaskRun });
    this.files = new FixedFiles(this.ring);
    this.#deferTaskRun = deferTaskRun;
  }

  addTarget(target: Target): number {
    const index = this.#freeTargets.pop() ?? this.#targets.length;
    this.#targets[index] = target;
    return index;
  }

  /** Only when no completion for it can be under way. */
  removeTarget(index: number): void {
    this.#targets[index] = undefined;
    this.#freeTargets.push(index);
  }

  watch(fd: number, handler: ReadinessHandler): Watch {
    return new UringWatch(this, fd, handler);
  }

  fileIo(
    fd: number,
    table: IovecTable,
    handler: FileIoHandler,
    { isEager = false }: FileIoOptions = {},
  ): FileIo {
    return new UringFileIo(this, fd, table, handler, isEager ? MAX_EAGER : 0);
  }

  poll(): boolean {
    return this.ring.reap(this) > 0;
  }

  onCompletion(userLow: number, userHigh: number, result: number, flags: number): void {
    this.#targets[userHigh]?.onCompletion(userLow, result, flags);
  }

  flush(): void {
    if (this.ring.hasUnsubmitted) this.ring.submit();
  }

  wait(timeoutMs: number): void {
    this.ring.submitAndWait(timeoutMs);
  }

  createNotifier(onReady: () => void): Notifier {
    return new UringNotifier(this.ring, onReady);
  }

  createCompletionEvent(): CompletionEvent {
    assert(!this.#deferTaskRun, 'such a ring loses signals: see UringCompletionEvent');
    return new UringCompletionEvent(this.ring);
  }

  [Symbol.dispose](): void {
    this.ring[Symbol.dispose]();
    this.files[Symbol.dispose]();
  }
}

/** Tokens of a watch's completions. */
const WatchToken = { POLL: 0, REMOVAL: 1 } as const;

/** A multishot poll. Its target index is free again after the last completion of poll and removal. */
class UringWatch implements Watch, Target {
  readonly #engine: UringEngine;
  readonly #fd: number;
  readonly #handler: ReadinessHandler;
  readonly #index: number;
  #hasEnded = false;
  #isRemoving = false;
  #closed = false;

  constructor(engine: UringEngine, fd: number, handler: ReadinessHandler) {
    this.#engine = engine;
    this.#fd = fd;
    this.#handler = handler;
    this.#index = engine.addTarget(this);
    this.#arm();
    // At once: whoever asked may go on to close or hand over the descriptor.
    engine.ring.submit();
  }

  #arm(): void {
    const events = Epoll.IN | Epoll.RDHUP;
    const ring = this.#engine.ring;
    const token = WatchToken.POLL;
    ring.push(Op.POLL_ADD, 0, this.#fd, 0, 0, 0, 0, POLL_ADD_MULTI, events, token, this.#index);
  }

  onCompletion(token: number, result: number, flags: number): void {
    if (token === WatchToken.REMOVAL) {
      this.#onRemoval(result);
      return;
    }
    const isLast = (flags & Cqe.MORE) === 0;
    if (this.#closed) {
      this.#hasEnded ||= isLast;
      this.#releaseIfOver();
      return;
    }
    // The kernel ends a multishot poll when it runs short of something; errors of the descriptor
    // itself show when the handler reads it.
    if (isLast && (result >= 0 || result === -Errno.ECANCELED)) this.#arm();
    else this.#hasEnded = isLast;
    this.#handler.onReadable();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#remove();
  }

  #remove(): void {
    this.#isRemoving = true;
    const ring = this.#engine.ring;
    const [poll, token] = [WatchToken.POLL, WatchToken.REMOVAL];
    ring.push(Op.POLL_REMOVE, 0, -1, 0, 0, poll, this.#index, 0, 0, token, this.#index);
    // At once: the poll holds the descriptor's file open.
    ring.submit();
  }

  /**
   * The kernel removes no poll that it is just telling of an event, or has yet to tell of one: that
   * poll goes on, and would hold the file open for ever.
   */
  #onRemoval(result: number): void {
    this.#isRemoving = false;
    if (result === -Errno.EALREADY && !this.#hasEnded) this.#remove();
    else this.#releaseIfOver();
  }

  #releaseIfOver(): void {
    if (this.#hasEnded && !this.#isRemoving) this.#engine.removeTarget(this.#index);
  }
}

/** File I/O by submissions. The file is registered with the ring, which saves a lookup each. */
class UringFileIo implements FileIo, Target {
  readonly #engine: UringEngine;
  readonly #ring: IoUring;
  readonly #table: IovecTable;
  readonly #words: Int32Array;
  readonly #handler: FileIoHandler;
  readonly #index: number;
  readonly #fixedIndex: number;
  readonly #fd: number;
  readonly #flags: number;
  readonly #maxEager: number;
  #underWay = 0;

  constructor(
    engine: UringEngine,
    fd: number,
    table: IovecTable,
    handler: FileIoHandler,
    maxEager: number,
  ) {
    this.#engine = engine;
    this.#maxEager = maxEager;
    this.#ring = engine.ring;
    this.#table = table;
    this.#words = table.words;
    this.#handler = handler;
    this.#index = engine.addTarget(this);
    this.#fixedIndex = engine.files.add(fd);
    const isFixed = this.#fixedIndex >= 0;
    this.#fd = isFixed ? this.#fixedIndex : fd;
    this.#flags = isFixed ? Sqe.FIXED_FILE : 0;
  }

  onCompletion(slot: number, result: number): void {
    this.#underWay -= 1;
    this.#handler.onFileIo(slot, result);
  }

  readv(slot: number, offsetLow: number, offsetHigh: number): number {
    this.#transfer(Op.READ, Op.READV, slot, offsetLow, offsetHigh, 0);
    return PENDING;
  }

  writev(slot: number, offsetLow: number, offsetHigh: number, flags: number): number {
    this.#transfer(Op.WRITE, Op.WRITEV, slot, offsetLow, offsetHigh, flags);
    return PENDING;
  }

  #transfer(
    single: number,
    vectored: number,
    slot: number,
    offsetLow: number,
    offsetHigh: number,
    rwFlags: number,
  ): void {
    const table = this.#table;
    let operation = vectored;
    let addressLow = table.addressLow(slot);
    let addressHigh = table.addressHigh(slot);
    let length = table.remaining(slot);
    if (length === 1) {
      // One piece: the kernel need not import a list.
      const at = table.firstWord(slot);
      operation = single;
      addressLow = this.#words[at];
      addressHigh = this.#words[at + 1];
      length = this.#words[at + 2];
    }
    this.#ring.push(
      operation,
      this.#flags,
      this.#fd,
      offsetLow,
      offsetHigh,
      addressLow,
      addressHigh,
      length,
      rwFlags,
      slot,
      this.#index,
    );
    this.#underWay += 1;
    if (this.#underWay <= this.#maxEager) this.#ring.submit();
  }

  fdatasync(slot: number): number {
    this.#underWay += 1;
    const flags = this.#flags;
    const rwFlags = FSYNC_DATASYNC;
    this.#ring.push(Op.FSYNC, flags, this.#fd, 0, 0, 0, 0, 0, rwFlags, slot, this.#index);
    return PENDING;
  }

  fallocate(slot: number, mode: number, offsetBytes: number, lengthBytes: number): number {
    this.#underWay += 1;
    this.#ring.push(
      Op.FALLOCATE,
      this.#flags,
      this.#fd,
      offsetBytes | 0,
      (offsetBytes / 2 ** 32) | 0,
      lengthBytes | 0,
      (lengthBytes / 2 ** 32) | 0,
      mode,
      0,
      slot,
      this.#index,
    );
    return PENDING;
  }

  cancel(slot: number): void {
    // The operation's own completion says what became of it.
    this.#ring.push(Op.ASYNC_CANCEL, 0, -1, 0, 0, slot, this.#index, 0, 0, 0, NOBODY);
  }

  close(): void {
    this.#engine.files.remove(this.#fixedIndex);
    this.#engine.removeTarget(this.#index);
  }
}
