/**
 * The completion descriptor of a queue (blkioq_get_completion_fd): readable while there may be
 * completions to take. It takes the place of a home for the queue's reactor, which is at work during
 * `doIo` only: before and after that, whatever there is for it to do makes the descriptor readable.
 *
 *      beginIo: not readable -> submit, turn, hand out -> endIo: readable as soon as there is more
 *
 * Nothing is missed between the last look and the sleep: `endIo` first asks for notifications (of
 * the back-end, then of the kernel), then looks once more, and rings if there is something.
 */
import type { CompletionEvent, Reactor } from '../sys/index.ts';

/** See the module's comment. */
export class CompletionFd implements Disposable {
  readonly #reactor: Reactor;
  readonly #event: CompletionEvent;
  #isEnabled = false;
  #isInIo = false;
  /** It is readable until the next `doIo`. */
  #isRung = false;

  /** @param reactor - the queue's alone, of the kind that is attached to event loops. */
  constructor(reactor: Reactor) {
    this.#reactor = reactor;
    this.#event = reactor.createCompletionEvent();
    reactor.onExternalRequest = () => this.ring();
  }

  get number(): number {
    return this.#event.fd;
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  /** @param hasDone - there are completions to take. */
  setEnabled(isEnabled: boolean, hasDone: boolean): void {
    this.#isEnabled = isEnabled;
    this.#isRung = false;
    if (isEnabled) this.#arm(hasDone);
    else this.#event.disarm();
  }

  /** `doIo` begins. */
  beginIo(): void {
    this.#isInIo = true;
    if (!this.#isEnabled) return;
    this.#isRung = false;
    this.#event.reset();
  }

  /** `doIo` ends. @param hasDone - there are completions that it did not take. */
  endIo(hasDone: boolean): void {
    this.#isInIo = false;
    if (this.#isEnabled) this.#arm(hasDone);
  }

  #arm(hasDone: boolean): void {
    if (hasDone || !this.#isReadyToSleep()) this.ring();
  }

  #isReadyToSleep(): boolean {
    const reactor = this.#reactor;
    if (!reactor.prepareToSleep()) return false;
    // Nobody tells when the time has come. (No queue's reactor has anything to do with time.)
    if (reactor.msUntilTurn() !== Number.POSITIVE_INFINITY) return false;
    return this.#event.arm();
  }

  /** There is something to take, or to look after, that `doIo` was not there to see. */
  ring(): void {
    if (!this.#isEnabled || this.#isInIo || this.#isRung) return;
    this.#isRung = true;
    this.#event.ring();
  }

  [Symbol.dispose](): void {
    this.#event.close();
  }
}
