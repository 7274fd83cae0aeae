/** Threads that use queues of this thread's device, under load until they are stopped. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { MemoryRegion, QueueHandle } from '../../src/blkio/index.ts';
import { LoadWord, type QueueThreadOutcome, type QueueThreadPlan } from './queue-thread-plan.ts';

/** What is particular to one thread. */
export interface QueueThreadOptions {
  readonly mode?: QueueThreadPlan['mode'];
  readonly lanes: number;
  readonly startBytes: number;
  readonly region?: MemoryRegion;
}

/** See the module's comment. */
export class QueueThread {
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;
  /** What came of it; rejects if the thread failed. */
  readonly outcome: Promise<QueueThreadOutcome>;
  readonly #exited: Promise<unknown>;

  constructor(handle: QueueHandle, options: QueueThreadOptions) {
    const { mode = 'blocking', lanes, startBytes, region } = options;
    const plan: QueueThreadPlan = {
      ...{ handle, mode, lanes, startBytes },
      ...(region === undefined ? {} : { region: region.share() }),
      words: this.#words.buffer as SharedArrayBuffer,
    };
    this.#worker = new Worker(new URL('./queue-thread.js', import.meta.url), { workerData: plan });
    this.#exited = once(this.#worker, 'exit');
    this.outcome = this.#result();
    this.outcome.catch(() => {});
  }

  async #result(): Promise<QueueThreadOutcome> {
    const [outcome] = (await once(this.#worker, 'message')) as [QueueThreadOutcome];
    await this.#exited;
    return outcome;
  }

  /** Requests that have succeeded so far. */
  get done(): number {
    return Atomics.load(this.#words, LoadWord.DONE);
  }

  /** Let all requests end. */
  stop(): Promise<QueueThreadOutcome> {
    Atomics.store(this.#words, LoadWord.STOP, 1);
    return this.outcome;
  }
}
