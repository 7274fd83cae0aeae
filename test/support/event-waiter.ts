/** A worker for tests: sleeps in `awaitEvent` and posts the count it woke up with. */
import { parentPort, workerData } from 'node:worker_threads';
import { awaitEvent } from '../../src/sys/eventfd.ts';

parentPort?.postMessage('waiting');
parentPort?.postMessage(awaitEvent(workerData as number));
