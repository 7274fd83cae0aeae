/**
 * A worker for tests: adds to a counter under a lock, in two steps that another thread would
 * disturb if it were let in between.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { SharedMutex } from '../../src/sys/shared-mutex.ts';

/** What the contenders share. */
export interface Contention {
  readonly mutex: SharedArrayBuffer;
  /** One Int32: the counter. */
  readonly counter: SharedArrayBuffer;
  readonly rounds: number;
}

const { mutex, counter, rounds } = workerData as Contention;
const lock = new SharedMutex(mutex);
const words = new Int32Array(counter);
for (let round = 0; round < rounds; round++) {
  lock.run(() => {
    const value = words[0];
    for (let spin = 0; spin < 100; spin++) Atomics.load(words, 0);
    words[0] = value + 1;
  });
}
parentPort?.postMessage('done');
