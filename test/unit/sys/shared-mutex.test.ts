/** Mutual exclusion between threads. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SharedMutex } from '../../../src/sys/index.ts';
import type { Contention } from '../../support/mutex-contender.ts';

const THREADS = 3;
const ROUNDS = 3000;

test('no two threads are in their sections at once', async () => {
  const counter = new SharedArrayBuffer(4);
  const mutex = new SharedMutex();
  const workerData: Contention = { mutex: mutex.buffer, counter, rounds: ROUNDS };
  const file = new URL('../../support/mutex-contender.js', import.meta.url);
  const workers = Array.from({ length: THREADS }, () => new Worker(file, { workerData }));
  await Promise.all(workers.map((worker) => once(worker, 'exit')));
  // Lost updates would show as a smaller number.
  assert.equal(new Int32Array(counter)[0], THREADS * ROUNDS);
  assert.equal(new Int32Array(mutex.buffer)[0], 0, 'free again');
});

test('the result comes back, and an error lets go of the lock', () => {
  const mutex = new SharedMutex();
  assert.equal(
    mutex.run(() => 5),
    5,
  );
  assert.throws(() =>
    mutex.run(() => {
      throw new Error('in the section');
    }),
  );
  assert.equal(
    mutex.run(() => 6),
    6,
  );
});
