/**
 * Tells by a descriptor that the epoll engine has events: the engine's own epoll descriptor is added
 * to a bell while armed.
 */
import { Bell } from './bell.ts';
import type { CompletionEvent } from './engine.ts';
import type { EpollEngine } from './epoll-engine.ts';

/** See the module's comment. */
export class EpollCompletionEvent implements CompletionEvent {
  readonly #engine: EpollEngine;
  readonly #bell = new Bell();
  #isArmed = false;

  /** @throws SystemError, and leaves nothing open. */
  constructor(engine: EpollEngine) {
    this.#engine = engine;
  }

  get fd(): number {
    return this.#bell.fd;
  }

  reset(): void {
    this.#bell.silence();
    // The engine's descriptor is readable until its events are fetched, which `poll` does rarely.
    this.#engine.wait(0);
  }

  arm(): boolean {
    if (!this.#isArmed) this.#bell.add(this.#engine.fd.number);
    this.#isArmed = true;
    return !this.#engine.hasPending;
  }

  disarm(): void {
    if (this.#isArmed) this.#bell.remove(this.#engine.fd.number);
    this.#isArmed = false;
    this.#bell.silence();
  }

  ring(): void {
    this.#bell.ring();
  }

  close(): void {
    this.#bell[Symbol.dispose]();
  }
}
