/**
 * The relay thread of `EpollNotifier`: waits to be armed, waits for events, sends a byte, and so
 * on until the stop descriptor is signalled.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Epoll } from '../constants.ts';
import { call } from '../errors.ts';
import { drainEvent } from '../eventfd.ts';
import { Mapping } from '../mapping.ts';
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

const MAX_EVENTS = 2;
const STOP = 1;

function relay(descriptors: RelayDescriptors): void {
  const outerFd = call('epoll_create1', Epoll.CLOEXEC);
  using block = Mapping.anonymous(4096);
  const events = new DataView(block.view(0, 4096));
  const dataAt = process.arch === 'x64' ? 4 : 8;
  const eventBytes = dataAt + 8;
  const watch = (fd: number, number: number): void => {
    // Level-triggered: an epoll descriptor is readable for as long as it has events to fetch.
    events.setUint32(0, Epoll.IN, true);
    events.setUint32(dataAt, number, true);
    call('epoll_ctl', outerFd, Epoll.CTL_ADD, fd, block.address);
  };
  watch(descriptors.epollFd, 0);
  watch(descriptors.stopFd, STOP);
  for (;;) {
    drainEvent(descriptors.armFd);
    const count = call('epoll_wait', outerFd, block.address, MAX_EVENTS, -1);
    for (let index = 0; index < count; index++) {
      if (events.getUint32(index * eventBytes + dataAt, true) === STOP) return;
    }
    sendMessage(descriptors.sendFd, Uint8Array.of(1));
  }
}

parentPort?.postMessage('ready');
relay(workerData as RelayDescriptors);
