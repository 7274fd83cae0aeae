/**
 * A reactor's home in a thread of its own: it polls for a while, then sleeps in the kernel. The
 * thread's event loop stands still meanwhile; other threads reach it through a descriptor that the
 * reactor watches.
 */
import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import { PollWindow } from './poll-window.ts';
import type { Reactor } from './reactor.ts';

/** See the module's comment. */
export class BlockingHome {
  readonly #reactor: Reactor;
  readonly #window: PollWindow;
  #stopped = false;
  #yieldRequested = false;

  /** @param maxPollUs - longest time to poll before sleeping, in microseconds; 0: never poll. */
  constructor(reactor: Reactor, maxPollUs: number) {
    this.#reactor = reactor;
    this.#window = new PollWindow(maxPollUs);
  }

  /** Run until `stop`. Call from the thread's top level; the thread does nothing else. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      this.#yieldRequested = false;
      this.#loop();
      await nextEventLoopTurn();
    }
  }

  /** Leave `run` after the current turn. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Give Node's own event loop one round soon: it runs finalizers of the garbage collector, which
   * is how memory that was let go gets unmapped. Worth asking for after control operations.
   */
  yieldToEventLoop(): void {
    this.#yieldRequested = true;
  }

  #loop(): void {
    const reactor = this.#reactor;
    const window = this.#window;
    while (!this.#stopped && !this.#yieldRequested) {
      if (reactor.turn()) {
        window.worked();
      } else if (!window.keepPolling() && reactor.prepareToSleep()) {
        window.sleeping();
        reactor.sleep();
      }
    }
  }
}
