/**
 * Ends the process if its event loop stands still: code that goes round in promises that are settled
 * already lets no timer come, and so no time limit of a test.
 */
import { Worker } from 'node:worker_threads';

const BEAT_MS = 100;
const LIMIT_MS = 30_000;

const WATCH = `
  const { workerData } = require('node:worker_threads');
  const { beats, about, limitMs } = workerData;
  let last = -1;
  setInterval(() => {
    const now = Atomics.load(beats, 0);
    if (now === last) {
      require('node:fs').writeSync(2, about + ': the event loop stands still\\n');
      process.kill(process.pid, 'SIGKILL');
    }
    last = now;
  }, limitMs);
`;

/** See the module's comment. */
export class LoopGuard implements Disposable {
  readonly #worker: Worker;
  readonly #timer: NodeJS.Timeout;

  /** @param about - what is done meanwhile, for the message. */
  constructor(about: string, limitMs: number = LIMIT_MS) {
    const beats = new Int32Array(new SharedArrayBuffer(4));
    this.#timer = setInterval(() => Atomics.add(beats, 0, 1), BEAT_MS).unref();
    this.#worker = new Worker(WATCH, { eval: true, workerData: { beats, about, limitMs } });
    this.#worker.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    void this.#worker.terminate();
  }
}
