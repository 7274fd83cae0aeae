/**
 * Keeps requests apart that use clusters of the disk and requests that move them: what is to be
 * written to a host cluster must not arrive when the cluster is somebody else's already.
 *
 * Those that use clusters are counted, by a hash of the cluster's number: entering and leaving costs
 * no more than that. Those that move clusters have them for themselves, in the order of their arrival.
 */

const BUCKETS = 4096;

/** A range of clusters that somebody has, or waits to have, for himself. */
interface Mover {
  readonly first: number;
  readonly last: number;
  readonly ended: Promise<void>;
}

interface Waiter {
  readonly first: number;
  readonly last: number;
  readonly proceed: () => void;
}

/** See the module's comment. Ranges are numbers of clusters, the last one included. */
export class ClusterGate {
  readonly #users = new Int32Array(BUCKETS);
  readonly #movers = new Int32Array(BUCKETS);
  #moving: Mover[] = [];
  /** Movers that wait for the last user to leave, and users for movers. */
  #draining: Waiter[] = [];
  #waiting: Waiter[] = [];

  /** Use clusters; false: somebody moves them, or is about to. */
  tryEnter(first: number, last: number): boolean {
    if (this.#moving.length > 0 && !isClear(this.#movers, first, last)) return false;
    add(this.#users, first, last, 1);
    return true;
  }

  leave(first: number, last: number): void {
    add(this.#users, first, last, -1);
    if (this.#draining.length > 0) this.#release();
  }

  #release(): void {
    const free = this.#draining.filter(({ first, last }) => isClear(this.#users, first, last));
    if (free.length === 0) return;
    this.#draining = this.#draining.filter((waiter) => !free.includes(waiter));
    for (const { proceed } of free) proceed();
  }

  /** Use clusters as soon as nobody moves them; `leave` ends that. */
  async enter(first: number, last: number): Promise<void> {
    while (!this.tryEnter(first, last)) {
      await new Promise<void>((proceed) => this.#waiting.push({ first, last, proceed }));
    }
  }

  /** Resolves when `tryEnter` may succeed. */
  async untilFree(first: number, last: number): Promise<void> {
    await this.enter(first, last);
    this.leave(first, last);
  }

  /** Have clusters for oneself while `task` runs. */
  async move<Result>(first: number, last: number, task: () => Promise<Result>): Promise<Result> {
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const mover = { first, last, ended };
    const earlier = this.#moving.filter((other) => other.first <= last && first <= other.last);
    this.#moving.push(mover);
    add(this.#movers, first, last, 1);
    try {
      for (const other of earlier) await other.ended;
      if (!isClear(this.#users, first, last)) {
        await new Promise<void>((proceed) => this.#draining.push({ first, last, proceed }));
      }
      return await task();
    } finally {
      add(this.#movers, first, last, -1);
      this.#moving.splice(this.#moving.indexOf(mover), 1);
      end();
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const { proceed } of waiting) proceed();
    }
  }
}

function isClear(counts: Int32Array, first: number, last: number): boolean {
  const end = Math.min(last, first + BUCKETS - 1);
  for (let cluster = first; cluster <= end; cluster++) {
    if (counts[cluster % BUCKETS] !== 0) return false;
  }
  return true;
}

function add(counts: Int32Array, first: number, last: number, difference: number): void {
  const end = Math.min(last, first + BUCKETS - 1);
  for (let cluster = first; cluster <= end; cluster++) counts[cluster % BUCKETS] += difference;
}
