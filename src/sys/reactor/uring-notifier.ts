/**
 * Wakes Node's event loop when an io_uring has completions, with no thread in between.
 *
 * The ring signals an eventfd at every completion, but Node cannot wait for an eventfd. So the ring
 * itself carries the news over: a linked pair READ(eventfd) -> SEND(one byte to a socketpair) is
 * kept armed, and a `net.Socket` reads the other end. Both skip their own completions, or they
 * would signal the eventfd again. While the reactor is at work the signal is masked.
 *
 * SAFETY: the kernel reads and writes the buffer of the pair until the ring is closed; it lives in
 * a mapping that is closed after it.
 */
import { Socket as NodeSocket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { Socket } from '../constants.ts';
import { createEventFd } from '../eventfd.ts';
import type { Fd } from '../fd.ts';
import { Op, Sqe } from '../io-uring/constants.ts';
import type { IoUring } from '../io-uring/io-uring.ts';
import { Mapping } from '../mapping.ts';
import { createSocketPair } from '../unix-socket.ts';
import type { Notifier } from './engine.ts';

/** Bytes of the buffer that wake-up bytes are read into: one suffices, more are harmless. */
const WAKE_BUFFER_BYTES = 64;

/** A socket whose data does nothing but call `onData`. Takes the descriptor over. */
export function wakeSocket(fd: Fd, onData: () => void): NodeSocket {
  // The constructor takes `onread`, its type declaration does not know.
  const options: SocketConstructorOpts & { onread: OnReadOpts } = {
    fd: fd.release(),
    readable: true,
    writable: false,
    onread: {
      buffer: new Uint8Array(WAKE_BUFFER_BYTES),
      callback: () => {
        onData();
        return true;
      },
    },
  };
  return new NodeSocket(options);
}

/** See the module's comment. */
export class UringNotifier implements Notifier {
  readonly ready: Promise<void> = Promise.resolve();
  readonly #ring: IoUring;
  readonly #eventFd: Fd;
  readonly #sendEnd: Fd;
  readonly #socket: NodeSocket;
  readonly #buffer: Mapping;
  #isArmed = false;

  constructor(ring: IoUring, onReady: () => void) {
    this.#ring = ring;
    this.#buffer = Mapping.anonymous(4096);
    this.#eventFd = createEventFd({ blocking: true });
    ring.setEventFdEnabled(false);
    ring.registerEventFd(this.#eventFd.number);
    const [sendEnd, receiveEnd] = createSocketPair();
    this.#sendEnd = sendEnd;
    this.#socket = wakeSocket(receiveEnd, () => {
      this.#isArmed = false;
      ring.setEventFdEnabled(false);
      onReady();
    });
  }

  arm(): boolean {
    if (!this.#isArmed) this.#pushPair();
    this.#ring.setEventFdEnabled(true);
    this.#ring.submit();
    if (!this.#ring.hasCompletions) return true;
    this.#ring.setEventFdEnabled(false);
    return false;
  }

  #pushPair(): void {
    this.#isArmed = true;
    const low = this.#buffer.address | 0;
    const high = (this.#buffer.address / 2 ** 32) | 0;
    const quiet = Sqe.CQE_SKIP_SUCCESS;
    const { number } = this.#eventFd;
    this.#ring.push(Op.READ, quiet | Sqe.IO_LINK, number, 0, 0, low, high, 8, 0, 0, 0);
    const sendFlags = Socket.MSG_NOSIGNAL;
    this.#ring.push(Op.SEND, quiet, this.#sendEnd.number, 0, 0, low, high, 1, sendFlags, 0, 0);
  }

  setReferenced(referenced: boolean): void {
    if (referenced) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#socket.destroy();
    this.#sendEnd.close();
    this.#eventFd.close();
    // After the ring, which the engine closes: its pair may still be armed.
    setImmediate(() => this.#buffer.close());
  }
}
