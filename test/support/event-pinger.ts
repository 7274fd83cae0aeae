/** A worker for tests: signals a descriptor, waits for the answer on another, so many times. */
import { workerData } from 'node:worker_threads';
import { awaitEvent, signalEvent } from '../../src/sys/eventfd.ts';

/** What the worker is given. */
export interface PingerPlan {
  /** Eventfds. */
  readonly ping: number;
  readonly pong: number;
  readonly rounds: number;
}

const { ping, pong, rounds } = workerData as PingerPlan;
for (let round = 0; round < rounds; round++) {
  signalEvent(ping);
  awaitEvent(pong);
}
