/**
 * One io_uring instance: the two rings as typed arrays.
 *
 *      sqes[tail & mask] --submit()--> kernel --cqes[head & mask]--> reap()
 *
 * SAFETY: the rings are shared with the kernel. The application owns the submission tail and the
 * completion head, the kernel the other two; an entry is written before the tail that covers it is
 * stored (release) and read after the tail was loaded (acquire). Addresses in entries must stay
 * valid until the completion, iovec arrays only until submission (IORING_FEAT_SUBMIT_STABLE).
 * Made, used and closed by one thread.
 *
 * Nothing is lost: with IORING_FEAT_NODROP the kernel keeps completions that do not fit, and when
 * it refuses new work for that (EBUSY) the completion ring is moved to a list here and read first.
 */
import { strict as assert } from 'node:assert';
import { Errno, SystemError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { lastErrno, libc } from '../libc.ts';
import { Mapping } from '../mapping.ts';
import {
  CQ_EVENTFD_DISABLED,
  Enter,
  Feature,
  Params,
  Register,
  RingOffset,
  Setup,
  SqFlag,
  Syscall,
} from './constants.ts';
import { restrictRing } from './restrictions.ts';

/** Int32 words of a submission and of a completion entry. */
const SQE_WORDS = 16;
const CQE_WORDS = 4;
/** Where `registerEventFd` puts its argument, in words: behind the argument of timed waits. */
const REGISTER_AT = 16;

/** What every use here needs: Linux 5.13. */
const REQUIRED_FEATURES =
  Feature.SINGLE_MMAP |
  Feature.NODROP |
  Feature.SUBMIT_STABLE |
  Feature.FAST_POLL |
  Feature.EXT_ARG |
  Feature.RSRC_TAGS;

/** Receives completions. Must not throw. */
export interface CompletionSink {
  onCompletion(userLow: number, userHigh: number, result: number, flags: number): void;
}

export interface IoUringOptions {
  /** Submission entries, a power of two. */
  readonly entries: number;
  /** Completion entries, a power of two; four times `entries` unless given. */
  readonly completionEntries?: number;
  /** Run kernel work only inside `enter` calls of this thread (Linux 6.1), where supported. */
  readonly deferTaskRun?: boolean;
}

/** See the module's comment. */
export class IoUring implements Disposable {
  /** Features the kernel reported. */
  readonly features: number;
  readonly #fd: Fd;
  readonly #rings: Mapping;
  readonly #sqeMapping: Mapping;
  readonly #words: Int32Array;
  readonly #sqes: Int32Array;
  readonly #entries: number;
  readonly #cqMask: number;
  readonly #sqHeadAt: number;
  readonly #sqTailAt: number;
  readonly #sqFlagsAt: number;
  readonly #cqHeadAt: number;
  readonly #cqTailAt: number;
  readonly #cqFlagsAt: number;
  readonly #cqesAt: number;
  readonly #fdNumber: number;
  readonly #waitArgument: Mapping;
  readonly #waitWords: Int32Array;
  #tail = 0;
  #submitted = 0;
  /** Completions moved aside on EBUSY, four numbers each. */
  #overflow: number[] = [];

  constructor(options: IoUringOptions) {
    const completionEntries = options.completionEntries ?? options.entries * 4;
    const [fd, params] = setUp(options.entries, completionEntries, options.deferTaskRun ?? false);
    this.#fd = fd;
    this.#fdNumber = fd.number;
    const word = (offset: number): number => params.getUint32(offset, true);
    this.features = word(Params.FEATURES);
    if ((this.features & REQUIRED_FEATURES) !== REQUIRED_FEATURES) {
      fd.close();
      throw new SystemError('io_uring_setup', Errno.ENOSYS, '(needs Linux 5.13)');
    }
    try {
      restrictRing((operation, address, count) => this.register(operation, address, count));
    } catch (error) {
      fd.close();
      throw error;
    }
    this.#entries = word(Params.SQ_ENTRIES);
    const cqEntries = word(Params.CQ_ENTRIES);
    const ringBytes = Math.max(
      word(Params.SQ_ARRAY) + this.#entries * 4,
      word(Params.CQ_CQES) + cqEntries * CQE_WORDS * 4,
    );
    const sqeBytes = this.#entries * SQE_WORDS * 4;
    this.#rings = Mapping.ofFile(fd.number, RingOffset.SQ_RING, ringBytes);
    this.#sqeMapping = Mapping.ofFile(fd.number, RingOffset.SQES, sqeBytes);
    this.#words = new Int32Array(this.#rings.view(0, ringBytes & ~3));
    this.#sqes = new Int32Array(this.#sqeMapping.view(0, sqeBytes));
    this.#cqMask = cqEntries - 1;
    this.#sqHeadAt = word(Params.SQ_HEAD) >> 2;
    this.#sqTailAt = word(Params.SQ_TAIL) >> 2;
    this.#sqFlagsAt = word(Params.SQ_FLAGS) >> 2;
    this.#cqHeadAt = word(Params.CQ_HEAD) >> 2;
    this.#cqTailAt = word(Params.CQ_TAIL) >> 2;
    this.#cqFlagsAt = word(Params.CQ_FLAGS) >> 2;
    this.#cqesAt = word(Params.CQ_CQES) >> 2;
    // The indirection array stays the identity: entry n is always at place n.
    const array = word(Params.SQ_ARRAY) >> 2;
    for (let index = 0; index < this.#entries; index++) this.#words[array + index] = index;
    this.#waitArgument = Mapping.anonymous(4096);
    this.#waitWords = new Int32Array(this.#waitArgument.view(0, 128));
  }

  /**
   * Queue one submission (struct io_uring_sqe). It is part of the next `submit`; when the ring is
   * full, what is in it is submitted first. All values are 32-bit words.
   */
  push(
    operation: number,
    flags: number,
    fd: number,
    offsetLow: number,
    offsetHigh: number,
    addressLow: number,
    addressHigh: number,
    length: number,
    operationFlags: number,
    userLow: number,
    userHigh: number,
  ): void {
    while (((this.#tail - this.#words[this.#sqHeadAt]) | 0) >= this.#entries) this.submit();
    const sqes = this.#sqes;
    const at = (this.#tail & (this.#entries - 1)) * SQE_WORDS;
    sqes[at] = operation | (flags << 8);
    sqes[at + 1] = fd;
    sqes[at + 2] = offsetLow;
    sqes[at + 3] = offsetHigh;
    sqes[at + 4] = addressLow;
    sqes[at + 5] = addressHigh;
    sqes[at + 6] = length;
    sqes[at + 7] = operationFlags;
    sqes[at + 8] = userLow;
    sqes[at + 9] = userHigh;
    sqes[at + 10] = 0;
    sqes[at + 11] = 0;
    sqes[at + 12] = 0;
    sqes[at + 13] = 0;
    sqes[at + 14] = 0;
    sqes[at + 15] = 0;
    this.#tail = (this.#tail + 1) | 0;
  }

  /** Whether entries wait for `submit`. */
  get hasUnsubmitted(): boolean {
    return this.#tail !== this.#submitted;
  }

  /** Hand all prepared entries to the kernel, without waiting for anything. */
  submit(): void {
    while (this.hasUnsubmitted) this.#enter(0, 0, 0, 0);
  }

  /**
   * Submit, and sleep until a completion is there.
   *
   * @param timeoutMs - at most so long; `Infinity` for no limit.
   */
  submitAndWait(timeoutMs: number): void {
    if (this.#overflow.length > 0) {
      this.submit();
      return;
    }
    if (timeoutMs === Number.POSITIVE_INFINITY) {
      this.#enter(1, Enter.GETEVENTS, 0, 0);
      return;
    }
    // struct io_uring_getevents_arg { u64 sigmask; u32 sizes; u32 pad; u64 ts } | timespec
    const timespec = this.#waitArgument.address + 24;
    this.#waitWords[4] = timespec | 0;
    this.#waitWords[5] = (timespec / 2 ** 32) | 0;
    this.#waitWords[6] = Math.floor(timeoutMs / 1000);
    this.#waitWords[8] = Math.floor((timeoutMs % 1000) * 1e6);
    const flags = Enter.GETEVENTS | Enter.EXT_ARG;
    this.#enter(1, flags, this.#waitArgument.address, 24);
  }

  /** Deliver all completions there are. Returns how many. */
  reap(sink: CompletionSink): number {
    const words = this.#words;
    const waiting = words[this.#sqFlagsAt] & (SqFlag.TASKRUN | SqFlag.CQ_OVERFLOW);
    if (waiting !== 0) this.#enter(0, Enter.GETEVENTS, 0, 0);
    let count = this.#overflow.length === 0 ? 0 : this.#reapOverflow(sink);
    const tail = Atomics.load(words, this.#cqTailAt);
    for (;;) {
      // Read anew each time: a handler may submit, which may move the rest of them aside.
      const head = words[this.#cqHeadAt];
      if (((tail - head) | 0) <= 0) break;
      const at = this.#cqesAt + (head & this.#cqMask) * CQE_WORDS;
      const userLow = words[at];
      const userHigh = words[at + 1];
      const result = words[at + 2];
      const flags = words[at + 3];
      // Stored one by one: a handler may submit, and the kernel then needs the room.
      Atomics.store(words, this.#cqHeadAt, (head + 1) | 0);
      sink.onCompletion(userLow, userHigh, result, flags);
      count += 1;
    }
    return count;
  }

  /** io_uring_register(2). Returns its result; throws a `SystemError`. */
  register(operation: number, address: number, count: number): number {
    const result = libc.syscall(Syscall.REGISTER, this.#fdNumber, operation, address, count, 0, 0);
    if (result === -1) throw new SystemError('io_uring_register', lastErrno());
    return result;
  }

  /** Have the kernel signal `eventFd` whenever a completion is posted, unless masked. */
  registerEventFd(eventFd: number): void {
    this.#waitWords[REGISTER_AT] = eventFd;
    const address = this.#waitArgument.address + REGISTER_AT * 4;
    this.register(Register.EVENTFD, address, 1);
  }

  /** Whether completions signal the registered eventfd. */
  setEventFdEnabled(enabled: boolean): void {
    Atomics.store(this.#words, this.#cqFlagsAt, enabled ? 0 : CQ_EVENTFD_DISABLED);
  }

  /** Whether a `reap` would find something. */
  get hasCompletions(): boolean {
    const words = this.#words;
    return (
      Atomics.load(words, this.#cqTailAt) !== words[this.#cqHeadAt] ||
      (words[this.#sqFlagsAt] & (SqFlag.TASKRUN | SqFlag.CQ_OVERFLOW)) !== 0 ||
      this.#overflow.length > 0
    );
  }

  /** Close the ring; the kernel cancels what is still under way. */
  [Symbol.dispose](): void {
    this.#fd.close();
    this.#rings.close();
    this.#sqeMapping.close();
    this.#waitArgument.close();
  }

  #enter(minComplete: number, flags: number, argument: number, argumentBytes: number): void {
    const words = this.#words;
    Atomics.store(words, this.#sqTailAt, this.#tail);
    const unsubmitted = (this.#tail - this.#submitted) | 0;
    const result = libc.syscall(
      Syscall.ENTER,
      this.#fdNumber,
      unsubmitted,
      minComplete,
      flags,
      argument,
      argumentBytes,
    );
    if (result >= 0) {
      this.#submitted = (this.#submitted + result) | 0;
      return;
    }
    const errno = lastErrno();
    // The time is up, or a signal came: the caller looks at the rings and calls again.
    if (errno === Errno.ETIME || errno === Errno.EINTR) return;
    // No memory for new requests, or too many unread completions: make room, then try again.
    const wantsRoom = errno === Errno.EAGAIN || errno === Errno.EBUSY;
    if (!wantsRoom) throw new SystemError('io_uring_enter', errno);
    this.#moveCompletionsAside();
  }

  #moveCompletionsAside(): void {
    const words = this.#words;
    const tail = Atomics.load(words, this.#cqTailAt);
    let head = words[this.#cqHeadAt];
    for (; head !== tail; head = (head + 1) | 0) {
      const at = this.#cqesAt + (head & this.#cqMask) * CQE_WORDS;
      this.#overflow.push(words[at], words[at + 1], words[at + 2], words[at + 3]);
    }
    Atomics.store(words, this.#cqHeadAt, head);
  }

  #reapOverflow(sink: CompletionSink): number {
    const moved = this.#overflow;
    this.#overflow = [];
    for (let at = 0; at < moved.length; at += 4) {
      sink.onCompletion(moved[at], moved[at + 1], moved[at + 2], moved[at + 3]);
    }
    return moved.length / 4;
  }
}

/** Set-up flags from best to plainest: a kernel refuses those it does not know with EINVAL. */
function flagLadder(deferTaskRun: boolean): number[] {
  const base = Setup.CQSIZE | Setup.CLAMP | Setup.R_DISABLED;
  const cooperative = base | Setup.COOP_TASKRUN | Setup.TASKRUN_FLAG;
  const deferred = base | Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN | Setup.TASKRUN_FLAG;
  return deferTaskRun ? [deferred, cooperative, base] : [base];
}

function setUp(entries: number, completionEntries: number, deferTaskRun: boolean): [Fd, DataView] {
  assert(entries > 0 && (entries & (entries - 1)) === 0, 'entries is a power of two');
  using block = Mapping.anonymous(4096);
  const params = new DataView(block.view(0, Params.BYTES));
  let errno = 0;
  for (const flags of flagLadder(deferTaskRun)) {
    for (let at = 0; at < Params.BYTES; at += 4) params.setUint32(at, 0, true);
    params.setUint32(Params.CQ_ENTRIES, completionEntries, true);
    params.setUint32(Params.FLAGS, flags, true);
    const fd = libc.syscall(Syscall.SETUP, entries, block.address, 0, 0, 0, 0);
    if (fd >= 0) return [new Fd(fd, 'io_uring'), new DataView(params.buffer.slice(0))];
    errno = lastErrno();
    if (errno !== Errno.EINVAL) break;
  }
  throw new SystemError('io_uring_setup', errno);
}
