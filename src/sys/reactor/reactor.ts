/**
 * The reactor: one thread's loop over one engine. Rings, sockets, file I/O and timers of a disk are
 * served by it; who calls `turn` is its home (`blocking-home.ts`, `attached-home.ts`), and code
 * that runs on a reactor cannot tell which.
 *
 * Order within a turn:
 *   1. completions of file I/O and readiness of descriptors, in the order the kernel reports them;
 *   2. timers that are due, earliest deadline first;
 *   3. sources, in the order they were added: each serves a bounded batch of requests;
 *   4. what all these asked of the kernel is submitted.
 * A handler that starts something is told of its completion in a later turn, never within the call.
 */
import type { FileIo, FileIoHandler } from '../file-io.ts';
import type { IovecTable } from '../iovec-table.ts';
import type {
  CompletionEvent,
  Engine,
  EngineName,
  FileIoOptions,
  Notifier,
  ReadinessHandler,
  Watch,
} from './engine.ts';
import { type Alarm, type Timer, Timers } from './timers.ts';

/** Something to be looked at in every turn: a virtqueue in shared memory. Must not throw. */
export interface PollSource {
  /** Serve what is there, at most a batch. True if anything was. */
  poll(): boolean;
  /** About to sleep: ask for notifications. False if there is something to serve after all. */
  prepareToSleep(): boolean;
  /** Longest time to go unlooked at, for sources that get no notification; else `Infinity`. */
  readonly maxSleepMs: number;
}

/** See the module's comment. */
export class Reactor implements Disposable {
  readonly #engine: Engine;
  readonly #timers = new Timers();
  #sources: PollSource[] = [];
  #maxSleepMs = Number.POSITIVE_INFINITY;
  /** Set by the home: something was asked for outside of a turn. */
  onExternalRequest: () => void = () => {};

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get engine(): EngineName {
    return this.#engine.name;
  }

  /** Watch a descriptor for readability, edge-triggered: see `ReadinessHandler`. */
  watch(fd: number, handler: ReadinessHandler): Watch {
    return this.#engine.watch(fd, handler);
  }

  /** I/O on a file. The descriptor stays the caller's and must outlive it. */
  fileIo(
    fd: number,
    table: IovecTable,
    handler: FileIoHandler,
    options: FileIoOptions = {},
  ): FileIo {
    return this.#engine.fileIo(fd, table, handler, options);
  }

  /** Call `callback` once, `delayMs` from now or a little later. */
  after(delayMs: number, callback: () => void): Timer {
    const timer = this.#timers.add(delayMs, callback);
    this.onExternalRequest();
    return timer;
  }

  /** For what is to be called at one time after the other: see `Alarm`. */
  alarm(callback: () => void): Alarm {
    const alarm = this.#timers.alarm(callback);
    return {
      set: (delayMs) => {
        alarm.set(delayMs);
        this.onExternalRequest();
      },
      cancel: alarm.cancel,
    };
  }

  addSource(source: PollSource): void {
    this.#sources = [...this.#sources, source];
    this.#updateMaxSleep();
    this.onExternalRequest();
  }

  /** Have the home look after the reactor: there may be more to do than it knows of. */
  requestTurn(): void {
    this.onExternalRequest();
  }

  removeSource(source: PollSource): void {
    this.#sources = this.#sources.filter((other) => other !== source);
    this.#updateMaxSleep();
  }

  #updateMaxSleep(): void {
    this.#maxSleepMs = Math.min(...this.#sources.map((source) => source.maxSleepMs));
  }

  /** One pass as described above. True if anything was done. */
  turn(): boolean {
    let busy = this.#engine.poll();
    if (!this.#timers.isEmpty && this.#timers.run()) busy = true;
    // The array is replaced, never changed: sources may come and go during the loop.
    const sources = this.#sources;
    for (let index = 0; index < sources.length; index++) {
      if (sources[index].poll()) busy = true;
    }
    this.#engine.flush();
    return busy;
  }

  /**
   * Submit what has been asked for, and call the handlers of what that has completed: reads of
   * cached data are done within the submission.
   */
  submit(): void {
    this.#engine.flush();
    this.#engine.poll();
  }

  /** Ask all sources for notifications. False if one has work after all: then do not sleep. */
  prepareToSleep(): boolean {
    let ready = true;
    for (const source of this.#sources) {
      if (!source.prepareToSleep()) ready = false;
    }
    return ready;
  }

  /** How long the loop may sleep before a timer or an unnotified source needs it. */
  msUntilTurn(): number {
    return Math.min(this.#timers.msUntilNext(), this.#maxSleepMs);
  }

  /** Sleep until there is something to do, at most `msUntilTurn` and `maxMs`. */
  sleep(maxMs: number = Number.POSITIVE_INFINITY): void {
    this.#engine.wait(Math.min(maxMs, this.msUntilTurn()));
  }

  /**
   * For a home of another kind, which makes it with `createReactor('attached')`. Timers do not make
   * it readable, nor sources that get no notification: see `msUntilTurn`.
   */
  createCompletionEvent(): CompletionEvent {
    return this.#engine.createCompletionEvent();
  }

  /** For the attached home. */
  createNotifier(onReady: () => void): Notifier {
    return this.#engine.createNotifier(onReady);
  }

  [Symbol.dispose](): void {
    this.#engine[Symbol.dispose]();
  }
}
