/**
 * Wakes Node's event loop when an epoll descriptor has events. Node can wait for neither epoll
 * descriptors nor eventfds, so a relay thread does, and sends one byte through a socketpair.
 * Slower than the io_uring notifier (a thread switch more), but needs nothing from the kernel.
 */
import type { Socket as NodeSocket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { createEventFd, signalEvent } from '../eventfd.ts';
import type { Fd } from '../fd.ts';
import { createSocketPair } from '../unix-socket.ts';
import type { Notifier } from './engine.ts';
import type { EpollEngine } from './epoll-engine.ts';
import type { RelayDescriptors } from './epoll-relay.ts';
import { wakeSocket } from './uring-notifier.ts';

/** Those whose threads have not ended. */
const relays = new Set<EpollNotifier>();

/** The end of the process waits for all threads, and a relay that sleeps would not return. */
function stopRelays(): void {
  for (const relay of relays) relay.stopRelay();
}

function addRelay(relay: EpollNotifier): void {
  if (relays.size === 0) process.on('exit', stopRelays);
  relays.add(relay);
}

function removeRelay(relay: EpollNotifier): void {
  relays.delete(relay);
  if (relays.size === 0) process.off('exit', stopRelays);
}

/** See the module's comment. */
export class EpollNotifier implements Notifier {
  readonly ready: Promise<void>;
  readonly #engine: EpollEngine;
  readonly #armFd: Fd;
  readonly #stopFd: Fd;
  readonly #sendEnd: Fd;
  readonly #socket: NodeSocket;
  #isArmed = false;
  #isClosed = false;

  constructor(engine: EpollEngine, onReady: () => void) {
    this.#engine = engine;
    this.#armFd = createEventFd({ blocking: true });
    this.#stopFd = createEventFd();
    const [sendEnd, receiveEnd] = createSocketPair();
    this.#sendEnd = sendEnd;
    this.#socket = wakeSocket(receiveEnd, () => {
      this.#isArmed = false;
      onReady();
    });
    const workerData: RelayDescriptors = {
      epollFd: engine.fd.number,
      armFd: this.#armFd.number,
      stopFd: this.#stopFd.number,
      sendFd: this.#sendEnd.number,
    };
    const worker = new Worker(new URL('./epoll-relay.js', import.meta.url), { workerData });
    // Until then it keeps the process alive: to end a thread that loads native code is fatal.
    this.ready = new Promise((resolve, reject) => {
      let isReady = false;
      worker.once('message', () => {
        isReady = true;
        worker.unref();
        resolve();
      });
      worker.once('error', (error) => {
        // Closed before the thread had started: its descriptors were gone.
        if (this.#isClosed) resolve();
        else if (isReady) throw error;
        else reject(error);
      });
    });
    addRelay(this);
    worker.once('exit', () => {
      removeRelay(this);
      this.#armFd.close();
      this.#stopFd.close();
      this.#sendEnd.close();
    });
  }

  arm(): boolean {
    this.#engine.wait(0);
    if (this.#engine.hasPending) return false;
    if (!this.#isArmed) {
      this.#isArmed = true;
      signalEvent(this.#armFd.number);
    }
    return true;
  }

  setReferenced(referenced: boolean): void {
    if (referenced) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.destroy();
    this.stopRelay();
  }

  /** End the relay thread, if it has not ended. */
  stopRelay(): void {
    if (!this.#armFd.isOpen) return;
    signalEvent(this.#stopFd.number);
    signalEvent(this.#armFd.number);
  }
}
