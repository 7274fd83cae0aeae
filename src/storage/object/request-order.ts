/**
 * The order in which a disk object gets its requests: all at once, up to its limit, but for those
 * that touch the same bytes, and flushes.
 */
import { Errno, PENDING } from '../../sys/index.ts';
import { Fifo } from '../fifo.ts';
import { CallList } from './call-list.ts';
import type { DiskObject } from './disk-object.ts';
import { type ObjectCall, promiseOf } from './object-call.ts';
import type { ObjectFaults } from './object-faults.ts';
import type { ObjectLimits } from './object-info.ts';

/**
 * Data of requests that methods have at once: what is to be copied takes memory of this process, and
 * the descriptors of a hostile guest's requests may all be of the same few pages.
 */
const MAX_DATA_BYTES = 2 ** 28;

const TRANSFERRED =
  'it has transferred its buffer: whoever has it reaches the memory of the guest, until that is ' +
  'unmapped, and what touches it after that ends the process; transfer a copy';

/** See the module's comment. */
export class RequestOrder {
  readonly #object: DiskObject;
  readonly #limits: ObjectLimits;
  readonly #faults: ObjectFaults;
  /** All that have not settled, in the order of their arrival. */
  readonly #calls = new CallList();
  /** Those that only wait because of the limits. */
  readonly #ready = new Fifo<ObjectCall>();
  #running = 0;
  #runningBytes = 0;
  /** Those that are not reads or flushes. */
  #changing = 0;
  #onIdle: () => void = () => {};

  constructor(object: DiskObject, limits: ObjectLimits, faults: ObjectFaults) {
    this.#object = object;
    this.#limits = limits;
    this.#faults = faults;
  }

  /** Take a request: 0 or a negative errno if it has settled, else `PENDING`. */
  submit(call: ObjectCall): number {
    // Reads among reads, which are most, need not be compared.
    if (call.changesData) this.#changing += 1;
    if (this.#changing > 0) this.#putBehind(call);
    this.#calls.add(call);
    const { timeoutMs } = this.#limits;
    if (timeoutMs !== undefined) {
      call.timer = setTimeout(() => this.#timeOut(call, timeoutMs), timeoutMs);
    }
    if (call.blockers > 0) return PENDING;
    if (this.#hasRoomFor(call)) return this.#run(call);
    this.#ready.push(call);
    return PENDING;
  }

  #hasRoomFor(call: ObjectCall): boolean {
    if (this.#running >= this.#limits.maxConcurrency) return false;
    return this.#running === 0 || this.#runningBytes + call.dataBytes <= MAX_DATA_BYTES;
  }

  #putBehind(call: ObjectCall): void {
    this.#calls.forEach((earlier) => {
      if (!call.mustFollow(earlier)) return;
      earlier.followers ??= [];
      earlier.followers.push(call);
      call.blockers += 1;
    });
  }

  /** Nobody waits for a caller's requests any more: their signals are aborted. */
  abort(isTheirs: (call: ObjectCall) => boolean): void {
    this.#calls.forEach((call) => {
      if (isTheirs(call)) call.abort(new Error('nobody waits for it: its client has gone'));
    });
  }

  /** As `abort`; those that have not begun end with -ECANCELED now, the others as they end. */
  abandon(isTheirs: (call: ObjectCall) => boolean): void {
    this.abort(isTheirs);
    this.#calls.forEach((call) => {
      if (isTheirs(call) && !call.hasBegun) this.#giveUp(call, -Errno.ECANCELED);
    });
  }

  /**
   * Resolves when no method is at anything any more: some may still be at requests that have been
   * given up. They are waited for as long as a request may take.
   */
  async idle(): Promise<void> {
    const { timeoutMs } = this.#limits;
    if (this.#running === 0 || timeoutMs === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #run(call: ObjectCall): number {
    this.#running += 1;
    this.#runningBytes += call.dataBytes;
    call.hasBegun = true;
    let promise: Promise<void> | undefined;
    try {
      promise = promiseOf(call.invoke(this.#object, this.#limits.timeoutMs !== undefined));
    } catch (error) {
      return this.#settle(call, this.#resultOf(call, error));
    }
    if (promise === undefined) return this.#settle(call, 0);
    promise.then(
      () => this.#report(call, this.#settle(call, 0)),
      (error: unknown) => this.#report(call, this.#settle(call, this.#resultOf(call, error))),
    );
    return PENDING;
  }

  #resultOf(call: ObjectCall, error: unknown): number {
    // It was told that nobody waits: whatever it says to that is no news.
    if (call.isAborted) return -Errno.ECANCELED;
    return this.#faults.resultOf(call, error);
  }

  /** A method has settled. */
  #settle(call: ObjectCall, result: number): number {
    this.#running -= 1;
    this.#runningBytes -= call.dataBytes;
    if (this.#running === 0) this.#onIdle();
    const isBack = call.caller.takeBack(call, result === 0 && !call.isGivenUp);
    this.#leave(call);
    return isBack ? result : this.#faults.resultOf(call, new Error(TRANSFERRED));
  }

  /** A request makes room for others. */
  #leave(call: ObjectCall): void {
    if (call.timer !== undefined) clearTimeout(call.timer);
    if (this.#calls.delete(call) && call.changesData) this.#changing -= 1;
    if (call.followers === undefined && this.#ready.length === 0) return;
    for (const follower of call.followers ?? []) {
      follower.blockers -= 1;
      if (follower.blockers === 0) this.#ready.push(follower);
    }
    if (this.#ready.length > 0) queueMicrotask(() => this.#runReady());
  }

  #runReady(): void {
    for (;;) {
      const next = this.#ready.first;
      if (next === undefined) return;
      // Given up while it waited.
      const isThere = next.isListed;
      if (isThere && !this.#hasRoomFor(next)) return;
      this.#ready.shift();
      if (!isThere) continue;
      const result = this.#run(next);
      if (result !== PENDING) this.#report(next, result);
    }
  }

  #report(call: ObjectCall, result: number): void {
    if (!call.isGivenUp) call.caller.onSettled(call, result);
  }

  #timeOut(call: ObjectCall, timeoutMs: number): void {
    const error = Object.assign(new Error(`not done within timeoutMs (${timeoutMs} ms)`), {
      code: 'ETIMEDOUT',
    });
    const result = this.#faults.resultOf(call, error);
    call.abort(error);
    this.#giveUp(call, result);
  }

  /** Tell the caller the end of a request. One that has begun keeps its range until it settles. */
  #giveUp(call: ObjectCall, result: number): void {
    if (call.isGivenUp) return;
    call.isGivenUp = true;
    if (!call.hasBegun) this.#leave(call);
    queueMicrotask(() => call.caller.onSettled(call, result));
  }
}
