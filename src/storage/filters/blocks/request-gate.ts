/**
 * Requests go on together; now and then something has to be done while none of them is under way.
 */
import type { Settled } from '../../object/disk-object.ts';
import { promiseOf } from '../../object/object-call.ts';

/** See the module's comment. */
export class RequestGate {
  #underWay = 0;
  /** Settles when requests may go on; `undefined`: they may. */
  #closed: Promise<void> | undefined;
  #becameIdle: () => void = () => {};

  /** Do a request, as soon as requests may go on. None may wait here while it is in another one. */
  pass(request: () => Settled): Settled {
    if (this.#closed !== undefined) return this.#closed.then(() => this.pass(request));
    this.#underWay += 1;
    let promise: Promise<void> | undefined;
    try {
      promise = promiseOf(request());
    } finally {
      if (promise === undefined) this.#end();
    }
    return promise?.finally(() => this.#end());
  }

  #end(): void {
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#becameIdle();
  }

  /** Do something when all requests have ended, and before others begin. */
  async alone<Result>(action: () => Promise<Result>): Promise<Result> {
    while (this.#closed !== undefined) await this.#closed;
    let open = (): void => {};
    this.#closed = new Promise((resolve) => {
      open = resolve;
    });
    try {
      if (this.#underWay > 0) {
        await new Promise<void>((resolve) => {
          this.#becameIdle = resolve;
        });
      }
      return await action();
    } finally {
      this.#becameIdle = () => {};
      this.#closed = undefined;
      open();
    }
  }
}
