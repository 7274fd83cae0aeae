/**
 * The relay thread of `EpollNotifier`: waits to be armed, waits for events, sends a byte, and so
 * on until the stop descriptor is signalled.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { EpollSet } from '../epoll-set.ts';
import { drainEvent } from '../eventfd.ts';
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

function relay(descriptors: RelayDescriptors): void {
  const { epollFd, armFd, stopFd, sendFd } = descriptors;
  using set = new EpollSet();
  set.add(epollFd);
  set.add(stopFd);
  for (;;) {
    drainEvent(armFd);
    if (set.wait().includes(stopFd)) return;
    sendMessage(sendFd, Uint8Array.of(1));
  }
}

parentPort?.postMessage('ready');
relay(workerData as RelayDescriptors);
