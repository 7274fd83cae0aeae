/** The reactor that a thread's own code uses disks with, next to Node's event loop. */
import { AttachedHome, createReactor, type Reactor } from '../../sys/index.ts';

let shared: ThreadReactor | undefined;

/** See the module's comment. One a thread, as long as somebody uses it. */
export class ThreadReactor {
  readonly reactor: Reactor;
  readonly #home: AttachedHome;
  #users = 0;
  #waiting = 0;

  private constructor() {
    this.reactor = createReactor('attached', 'auto').reactor;
    this.#home = new AttachedHome(this.reactor);
    this.#home.ready.catch(() => {});
    this.#home.setReferenced(false);
  }

  /** Begin to use it; `leave` ends that. */
  static enter(): ThreadReactor {
    shared ??= new ThreadReactor();
    shared.#users += 1;
    return shared;
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    shared = undefined;
    this.#home.close();
    this.reactor[Symbol.dispose]();
  }

  /** A request is under way: the process must not end for want of something to do. */
  began(): void {
    this.#waiting += 1;
    if (this.#waiting === 1) this.#home.setReferenced(true);
    this.reactor.requestTurn();
  }

  ended(): void {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#home.setReferenced(false);
  }
}
