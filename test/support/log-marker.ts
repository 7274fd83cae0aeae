/**
 * A worker for tests: marks pages of a dirty log and fetches the marks as a front-end does, while
 * another one does the same with the pages in between. A mark that is not there when it is fetched
 * was lost to the other thread's change of the byte.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { DirtyLog } from '../../src/memory/dirty-log.ts';

/** What the markers share. */
export interface LogMarking {
  readonly bits: SharedArrayBuffer;
  /** This thread's pages: the even or the odd ones. */
  readonly parity: number;
  readonly rounds: number;
}

const { bits, parity, rounds } = workerData as LogMarking;
const bytes = new Uint8Array(bits);
const log = new DirtyLog(bytes);
let lost = 0;
for (let round = 0; round < rounds; round++) {
  const page = (round % 4) * 2 + parity;
  log.mark(page * 4096, 0, 1);
  if ((Atomics.and(bytes, 0, ~(1 << page)) & (1 << page)) === 0) lost += 1;
}
parentPort?.postMessage(lost);
