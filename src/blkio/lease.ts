/** Whether another thread uses a queue that was shared with it: one word that both threads see. */

const State = { OFFERED: 0, HELD: 1, ENDED: 2 } as const;

/** See the module's comment. */
export class Lease {
  readonly shared: SharedArrayBuffer;
  readonly #state: Int32Array;

  /** @param shared - of another thread's lease; default: a new one. */
  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.shared = shared;
    this.#state = new Int32Array(shared);
  }

  /** The queue is in use. */
  get isHeld(): boolean {
    return Atomics.load(this.#state, 0) === State.HELD;
  }

  /** Take the queue over. False if somebody has done so before. */
  take(): boolean {
    return Atomics.compareExchange(this.#state, 0, State.OFFERED, State.HELD) === State.OFFERED;
  }

  /** Whoever took it is done with it. */
  end(): void {
    Atomics.store(this.#state, 0, State.ENDED);
  }
}
