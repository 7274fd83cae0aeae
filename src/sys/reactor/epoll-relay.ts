/**
 * The relay thread of `EpollNotifier`: waits to be armed, waits for events, sends a byte, and so
 * on until the stop descriptor is signalled.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { EpollSet } from '../epoll-set.ts';
import { SystemError } from '../errors.ts';
import { drainEvent, isSignalled } from '../eventfd.ts';
import { sendMessage } from '../unix-socket.ts';

/** What the relay works with; all are the notifier's, which outlives it. */
export interface RelayDescriptors {
  /** Waited for. */
  readonly epollFd: number;
  /** Blocking eventfd: signalled to arm the relay once. */
  readonly armFd: number;
  readonly stopFd: number;
  /** Gets a byte when `epollFd` has events. */
  readonly sendFd: number;
}

/** How long to wait when a byte cannot be sent. */
const RETRY_MS = 10;

function relay(descriptors: RelayDescriptors): void {
  const { epollFd, armFd, stopFd, sendFd } = descriptors;
  using set = new EpollSet();
  set.add(epollFd);
  set.add(stopFd);
  parentPort?.postMessage('ready');
  for (;;) {
    drainEvent(armFd);
    if (set.wait().includes(stopFd)) return;
    while (!isSent(sendFd)) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      if (isSignalled(stopFd)) return;
    }
  }
}

/** No memory for a byte will not be for long; no one to take it means that the end is near. */
function isSent(sendFd: number): boolean {
  try {
    sendMessage(sendFd, Uint8Array.of(1));
    return true;
  } catch (error) {
    if (error instanceof SystemError) return false;
    throw error;
  }
}

relay(workerData as RelayDescriptors);
