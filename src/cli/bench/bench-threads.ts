/** The threads of a benchmark, as the main thread sees them: started, let go together, awaited. */
import { Worker } from 'node:worker_threads';
import { BlkioError } from '../../blkio/index.ts';
import { ControlWord, type LaneResult, type ThreadMessage, type ThreadPlan } from './bench-plan.ts';

type PlanWithoutControl = Omit<ThreadPlan, 'control'>;

/** See the module's comment. */
export class BenchThreads {
  readonly #control = new Int32Array(new SharedArrayBuffer(8));

  /**
   * Run until the time is up or `stop` is called. The workers are left as they are: the program
   * ends.
   *
   * @returns what each thread's queues have done.
   * @throws BlkioError of the first thread that failed.
   */
  async run(plans: readonly PlanWithoutControl[]): Promise<(readonly LaneResult[])[]> {
    let ready = 0;
    const results = plans.map(
      (plan) =>
        new Promise<readonly LaneResult[]>((resolve, reject) => {
          const worker = this.#start(plan);
          worker.once('error', reject);
          worker.once('exit', () => reject(new Error('a thread ended without a result')));
          worker.on('message', (message: ThreadMessage) => {
            if (message.kind === 'done') resolve(message.lanes);
            else if (message.kind === 'failed') reject(new BlkioError('EIO', message.message));
            else if (++ready === plans.length) this.#order(ControlWord.GO);
          });
        }),
    );
    return Promise.all(results);
  }

  /** End early, with what has been done so far. */
  stop(): void {
    this.#order(ControlWord.STOP);
  }

  #start(plan: PlanWithoutControl): Worker {
    const control = this.#control.buffer;
    const workerData = { ...plan, control };
    return new Worker(new URL('./bench-worker.js', import.meta.url), { workerData });
  }

  #order(word: number): void {
    Atomics.store(this.#control, word, 1);
    Atomics.notify(this.#control, word);
  }
}
