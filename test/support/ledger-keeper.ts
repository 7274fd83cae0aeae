/** A worker for tests that keeps a ledger, opens this and that, and waits for its end. */
import { parentPort, workerData } from 'node:worker_threads';
import { createMemfd, Mapping, type MappingHandle, ThreadLedger } from '../../src/sys/index.ts';

/** What it has. */
export interface Kept {
  /** Descriptors, and addresses of memory: its own, and what is the other thread's by now. */
  readonly ownFd: number;
  readonly givenFd: number;
  readonly ownAddress: number;
  readonly shared: MappingHandle;
  /** Closed by the worker: the number may be anybody's. */
  readonly closedFd: number;
}

ThreadLedger.keep(workerData as SharedArrayBuffer);
const own = createMemfd('own', 4096);
const given = createMemfd('given', 4096);
const closed = createMemfd('closed', 4096);
const kept: Kept = {
  ownFd: own.number,
  givenFd: given.release(),
  ownAddress: Mapping.ofFile(own.number, 0, 4096).address,
  shared: Mapping.anonymous(4096).handle(),
  closedFd: closed.number,
};
closed.close();
parentPort?.postMessage(kept);
// Until it is terminated, which it is not told.
parentPort?.on('message', () => {});
