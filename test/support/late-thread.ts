/**
 * Module to load before a program (`node --import`): the first of its worker threads comes last,
 * as may happen on a busy machine.
 */
import { threadId } from 'node:worker_threads';

const FIRST_WORKER = 1;
const DELAY_MS = 1500;

if (threadId === FIRST_WORKER) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, DELAY_MS);
}
