/**
 * Flushes of a file, and what becomes of those after one that failed.
 *
 * The kernel tells of a write-back that failed once for each open file description, and marks the
 * pages as clean all the same: the next fdatasync succeeds, and says nothing about what was lost
 * before it. So
 *
 *   - a flush that failed makes all later ones fail, in all threads, until the disk is opened again;
 *   - flushes have a description of their own, where one can be had: of a write that is to be
 *     stable, and fails, nobody can tell whether it took a report away that a flush should have got;
 *   - each reactor has its own, and one fdatasync at a time: of two at once only one is told, and the
 *     other may come back first. Flushes that come meanwhile share the next one.
 *
 * With direct I/O, too: behind it there may be another cache, such as that of a loop device's file
 * or of a server, of which no more is known.
 */
import { PENDING } from '../../sys/index.ts';

/** Who flushes: a queue's channel. */
export interface Flusher {
  /** The slot's flush, which has waited, is to be started: as `start` of a channel. */
  startFlush(slot: number): number;
  /** A flush that was pending is done. */
  onFlushed(slot: number, result: number): void;
}

/** May be started. */
export const ENTERED = 0;

/** Flushes in order. The arrays keep their room: nothing is allocated for a request. */
class FlushList {
  readonly #flushers: Flusher[] = [];
  readonly #slots: number[] = [];
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  add(flusher: Flusher, slot: number): void {
    this.#flushers[this.#count] = flusher;
    this.#slots[this.#count] = slot;
    this.#count += 1;
  }

  /** Take the last one off, and start it. */
  startOne(): number {
    this.#count -= 1;
    return this.#flushers[this.#count].startFlush(this.#slots[this.#count]);
  }

  /** Give each its result, and be empty. */
  answer(result: number): void {
    for (let index = 0; index < this.#count; index++) {
      this.#flushers[index].onFlushed(this.#slots[index], result);
    }
    this.#count = 0;
  }
}

/** See the module's comment. One for each reactor, see `FlushLanes`. */
export class FlushGate {
  /** The errno of the flush that failed; 0: none has. */
  readonly #failure: Int32Array;
  #isBusy = false;
  /** Those that the fdatasync under way is for, but for the one that started it. */
  #sharing = new FlushList();
  /** Those that came after it was started. */
  #waiting = new FlushList();

  /** @param failure - four bytes, the same for all threads with the disk. */
  constructor(failure: SharedArrayBuffer) {
    this.#failure = new Int32Array(failure);
  }

  /** What all flushes fail with: a negative errno, or 0. */
  get failure(): number {
    return 0 - Atomics.load(this.#failure, 0);
  }

  /** Ask to flush: `ENTERED`, `PENDING` if another one is under way, or a negative errno. */
  enter(flusher: Flusher, slot: number): number {
    const { failure } = this;
    if (failure !== 0) return failure;
    if (this.#isBusy) {
      this.#waiting.add(flusher, slot);
      return PENDING;
    }
    this.#isBusy = true;
    return ENTERED;
  }

  /** What an fdatasync that has ended means for those who asked for it. */
  judge(result: number): number {
    if (result < 0) this.fail(-result);
    return this.failure;
  }

  /** The one that entered has got its result: the same for who shared it, then the next. */
  leave(result: number): void {
    this.#sharing.answer(result);
    // Answers may have been followed by more flushes: they wait, as this one is still busy.
    const next = this.#waiting;
    this.#waiting = this.#sharing;
    this.#sharing = next;
    if (this.failure !== 0) next.answer(this.failure);
    this.#isBusy = !next.isEmpty;
    if (next.isEmpty) return;
    const started = next.startOne();
    if (started !== PENDING) this.leave(started);
  }

  /** Resolves with the errno once flushes fail, in this thread or another one. */
  get failed(): Promise<number> {
    const { value } = Atomics.waitAsync(this.#failure, 0, 0);
    return Promise.resolve(value).then(() => -this.failure);
  }

  /** From now on all flushes fail. */
  fail(errno: number): void {
    if (Atomics.compareExchange(this.#failure, 0, 0, errno) === 0) Atomics.notify(this.#failure, 0);
  }
}
