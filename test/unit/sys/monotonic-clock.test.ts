/** The clock of data paths: the same in all threads, and without garbage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { monotonicClock, readClock } from '../../../src/sys/index.ts';

const MODULE = new URL('../../../src/sys/index.js', import.meta.url).href;

test('time passes as on the clock of the process', () => {
  const before = Number(process.hrtime.bigint()) / 1e6;
  const now = readClock(monotonicClock);
  const after = Number(process.hrtime.bigint()) / 1e6;
  assert.ok(before <= now && now <= after, `${before} ${now} ${after}`);
});

test('another thread has the same time', async () => {
  const code = `import(${JSON.stringify(MODULE)}).then(({ monotonicClock, readClock }) =>
    require('node:worker_threads').parentPort.postMessage(readClock(monotonicClock)));`;
  const before = readClock(monotonicClock);
  const worker = new Worker(code, { eval: true });
  const there = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  assert.ok(before <= there && there <= readClock(monotonicClock), `${before} ${there}`);
});
