/** A back-end that somebody else has started: all that can be seen is whether it serves. */
import type { Reactor } from '../src/sys/index.ts';
import { useHonestly } from './honest-client.ts';
import type { Patience, Target, Violation } from './target.ts';

/** See the module's comment. */
export class ForeignTarget implements Target {
  readonly socketPath: string;
  readonly pid = undefined;
  readonly log: readonly string[] = [];
  readonly #reactor: Reactor;

  constructor(reactor: Reactor, socketPath: string) {
    this.#reactor = reactor;
    this.socketPath = socketPath;
  }

  async check({ limitMs }: Patience): Promise<Violation | undefined> {
    try {
      const { socketPath } = this;
      const use = { reactor: this.#reactor, socketPath, mayWrite: false, number: 0 };
      await useHonestly({ ...use, limitMs });
      return undefined;
    } catch (error) {
      return { kind: 'not served', text: (error as Error).message };
    }
  }

  inspect(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
