/**
 * A mutual exclusion lock for threads that share memory, for rare and short critical sections.
 * The word is 0 when free, 1 when held, 2 when held and waited for.
 */
const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

/** See the module's comment. Each thread makes its own over the same buffer. */
export class SharedMutex {
  readonly buffer: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#word = new Int32Array(buffer);
  }

  /** Run `section` while no other thread is in one. Blocks the calling thread until then. */
  run<Result>(section: () => Result): Result {
    this.#lock();
    try {
      return section();
    } finally {
      this.#unlock();
    }
  }

  #lock(): void {
    if (Atomics.compareExchange(this.#word, 0, FREE, HELD) === FREE) return;
    while (Atomics.exchange(this.#word, 0, CONTENDED) !== FREE) {
      Atomics.wait(this.#word, 0, CONTENDED);
    }
  }

  #unlock(): void {
    if (Atomics.exchange(this.#word, 0, FREE) === CONTENDED) Atomics.notify(this.#word, 0, 1);
  }
}
