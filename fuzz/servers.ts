/**
 * The back-ends of a run: a server for each set of options, kept from case to case, so that what
 * leaks adds up; or the one that somebody else has started.
 */
import type { Reactor } from '../src/sys/index.ts';
import { ForeignTarget } from './foreign-target.ts';
import { ServerTarget } from './server-target.ts';
import type { Target } from './target.ts';

/** See the module's comment. */
export class Servers implements AsyncDisposable {
  readonly #reactor: Reactor;
  readonly #modules: readonly string[];
  readonly #foreign: Target | undefined;
  readonly #running = new Map<string, ServerTarget>();
  /** Servers started so far. */
  started = 0;

  /**
   * @param modules - to be loaded before the program: file URLs.
   * @param socketPath - of a back-end that runs already, for all cases.
   */
  constructor(reactor: Reactor, modules: readonly string[] = [], socketPath?: string) {
    this.#reactor = reactor;
    this.#modules = modules;
    this.#foreign = socketPath === undefined ? undefined : new ForeignTarget(reactor, socketPath);
  }

  /** The server with these options. */
  async get(options: readonly string[]): Promise<Target> {
    if (this.#foreign !== undefined) return this.#foreign;
    const key = options.join(' ');
    const known = this.#running.get(key);
    if (known !== undefined) return known;
    const target = await ServerTarget.start(this.#reactor, options, this.#modules);
    this.started += 1;
    this.#running.set(key, target);
    return target;
  }

  /** Something is wrong with it: the next one that asks gets a new one. */
  async discard(target: Target): Promise<void> {
    for (const [key, running] of this.#running) {
      if (running !== target) continue;
      this.#running.delete(key);
      await target[Symbol.asyncDispose]();
    }
  }

  /** Memory that each of the servers occupies, by its options. */
  residentMib(): ReadonlyMap<string, number> {
    return new Map([...this.#running].map(([key, target]) => [key, target.residentMib]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const target of this.#running.values()) await target[Symbol.asyncDispose]();
    this.#running.clear();
  }
}
