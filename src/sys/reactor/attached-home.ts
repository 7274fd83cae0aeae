/**
 * A reactor's home on Node's event loop, next to other code of the same thread. Nothing blocks:
 * when there is no work, a notifier wakes the event loop as soon as there is.
 */
import type { Notifier } from './engine.ts';
import { PollWindow } from './poll-window.ts';
import type { Reactor } from './reactor.ts';

/** Turns before the event loop gets its chance, however much work there is. */
const MAX_TURNS_PER_PUMP = 32;

/** See the module's comment. */
export class AttachedHome {
  readonly #reactor: Reactor;
  readonly #notifier: Notifier;
  readonly #window: PollWindow;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #isPumping = false;
  #isReferenced = true;
  #closed = false;

  /**
   * @param maxPollUs - longest time to look for work before waiting for it, in microseconds, if that
   * pays: other code of the thread has its turns meanwhile. 0: never.
   */
  constructor(reactor: Reactor, maxPollUs = 0) {
    this.#reactor = reactor;
    this.#window = new PollWindow(maxPollUs);
    this.#notifier = reactor.createNotifier(() => this.pump());
    reactor.onExternalRequest = () => {
      if (!this.#isPumping) this.#pumpSoon();
    };
    this.#pumpSoon();
  }

  /** Resolves when its threads, if it has some, have started: they read no files any more. */
  get ready(): Promise<void> {
    return this.#notifier.ready;
  }

  /** Whether waiting for work keeps the process alive; it does at first. */
  setReferenced(referenced: boolean): void {
    this.#isReferenced = referenced;
    this.#notifier.setReferenced(referenced);
    if (referenced) this.#timer?.ref();
    else this.#timer?.unref();
  }

  /** Stop turning the reactor. Dispose of the reactor after this. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#notifier.close();
  }

  #pumpSoon(): void {
    if (this.#closed) return;
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      this.pump();
    });
  }

  /**
   * Do at once what there is to do. The home does that by itself; who has just asked for something
   * saves the event loop a round.
   */
  pump(): void {
    if (this.#closed || this.#isPumping) return;
    this.#isPumping = true;
    const isIdle = this.#turnUntilIdle();
    this.#isPumping = false;
    if (this.#closed) return;
    if (isIdle) this.#scheduleTimer();
    else this.#pumpSoon();
  }

  #turnUntilIdle(): boolean {
    const reactor = this.#reactor;
    for (let turns = 0; turns < MAX_TURNS_PER_PUMP; turns++) {
      if (reactor.turn()) {
        this.#window.worked();
        continue;
      }
      if (this.#closed) return true;
      // Not here: what is waited for may need the event loop.
      if (this.#window.keepPolling()) return false;
      if (reactor.prepareToSleep() && this.#notifier.arm()) {
        this.#window.sleeping();
        return true;
      }
    }
    return false;
  }

  #scheduleTimer(): void {
    clearTimeout(this.#timer);
    const delayMs = this.#reactor.msUntilTurn();
    if (delayMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.pump(), Math.ceil(delayMs));
    if (!this.#isReferenced) this.#timer.unref();
  }
}
