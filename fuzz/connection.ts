/**
 * A connection of a case: sends bytes whole or in pieces, counts what is answered, and reads
 * nothing if it is told so.
 */
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import {
  closeAll,
  connectUnix,
  type Fd,
  MAX_MESSAGE_FDS,
  type Reactor,
  receiveMessage,
  SystemError,
  sendMessage,
  type Watch,
} from '../src/sys/index.ts';

/** How bytes are sent. */
export interface SendOptions {
  readonly fds?: readonly Fd[];
  /** Bytes a piece; between two, the back-end gets time to look. Default: all at once. */
  readonly chunkBytes?: number;
  /** Each piece has the next descriptor, rather than the first all of them. */
  readonly isSpread?: boolean;
}

const HEADER_BYTES = 12;
const RECEIVE_BYTES = 4096;
const MAX_SEND_BYTES = 16384;
/** How long a socket may be full, or a listener busy, before the case goes on without. */
const PATIENCE_MS = 1000;
const GONE = ['EPIPE', 'ECONNRESET', 'ENOTCONN'];

/** Whether an error is one of the kernel's, with one of these codes. */
function isRefusal(error: unknown, codes: readonly string[]): boolean {
  return error instanceof SystemError && codes.includes(error.code);
}

/** Connect, waiting for room if too many others wait. `undefined` if there is none, or nobody. */
export async function connectPatiently(socketPath: string): Promise<Fd | undefined> {
  const endMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return connectUnix(socketPath);
    } catch (error) {
      if (!isRefusal(error, ['EAGAIN']) || performance.now() > endMs) {
        if (isRefusal(error, ['EAGAIN', 'ECONNREFUSED', 'ENOENT'])) return undefined;
        throw error;
      }
      await delay(1);
    }
  }
}

/** See the module's comment. */
export class FuzzConnection implements Disposable {
  readonly #reactor: Reactor;
  readonly #socket: Fd;
  #watch: Watch | undefined;
  #received = Buffer.alloc(0);
  #fds: Fd[] = [];
  /** Whether acknowledgements were negotiated, as far as we have asked for them. */
  hasAcknowledgements = false;
  /** Answers that are to be expected, and those that have come. */
  expected = 0;
  answered = 0;
  isHungUp = false;

  /** Takes the socket over. */
  constructor(reactor: Reactor, socket: Fd) {
    this.#reactor = reactor;
    this.#socket = socket;
    this.readAgain();
  }

  get socket(): Fd {
    return this.#socket;
  }

  stopReading(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  readAgain(): void {
    if (this.isHungUp) return;
    this.#watch ??= this.#reactor.watch(this.#socket.number, {
      onReadable: () => this.#receive(),
    });
  }

  #receive(): void {
    const buffer = new Uint8Array(RECEIVE_BYTES);
    try {
      for (;;) {
        const received = receiveMessage(this.#socket.number, buffer);
        if (received === undefined) return;
        this.#fds.push(...received.fds);
        if (received.bytes === 0) break;
        this.#received = Buffer.concat([this.#received, buffer.subarray(0, received.bytes)]);
        this.#countReplies();
      }
    } catch (error) {
      if (!isRefusal(error, GONE)) throw error;
    }
    this.isHungUp = true;
  }

  #countReplies(): void {
    let bytes = this.#received;
    while (bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + bytes.readUInt32LE(8);
      if (bytes.length < end) break;
      bytes = bytes.subarray(end);
      this.answered += 1;
    }
    this.#received = bytes;
  }

  /** The last descriptor the back-end has sent, if any; the caller owns it. */
  takeDescriptor(): Fd | undefined {
    const last = this.#fds.pop();
    closeAll(this.#fds);
    this.#fds = [];
    return last;
  }

  /** Send bytes. What the back-end does not take in time, or because it has hung up, is lost. */
  async send(bytes: Uint8Array, options: SendOptions = {}): Promise<void> {
    if (this.isHungUp) return;
    const chunkBytes = Math.min(options.chunkBytes ?? bytes.length, MAX_SEND_BYTES);
    let fds = options.fds ?? [];
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + Math.max(1, chunkBytes));
      // More do not fit; a server gets no more of them than that, whoever sends them.
      const count = options.isSpread ? 1 : Math.min(fds.length, MAX_MESSAGE_FDS);
      const sent = await this.#sendPiece(piece, fds.slice(0, count));
      if (sent === 0) return;
      at += sent;
      fds = options.isSpread ? fds.slice(count) : [];
      if (at < bytes.length) await turn();
    }
  }

  async #sendPiece(bytes: Uint8Array, fds: readonly Fd[]): Promise<number> {
    const endMs = performance.now() + PATIENCE_MS;
    try {
      for (;;) {
        const sent = sendMessage(this.#socket.number, bytes, fds);
        if (sent > 0) return sent;
        // It does not read any more: the rest of the case shall not wait for that, too.
        if (performance.now() > endMs) this.isHungUp = true;
        if (this.isHungUp) return 0;
        await delay(1);
      }
    } catch (error) {
      // Too many descriptors are on their way: the kernel has a limit, too.
      if (!isRefusal(error, [...GONE, 'ETOOMANYREFS'])) throw error;
      if (isRefusal(error, GONE)) this.isHungUp = true;
      return 0;
    }
  }

  /** Wait until everything that has an answer is answered, but not longer than that. */
  async answers(limitMs: number): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (this.answered < this.expected && !this.isHungUp && performance.now() < endMs) {
      await turn();
    }
  }

  [Symbol.dispose](): void {
    this.stopReading();
    closeAll(this.#fds);
    this.#socket[Symbol.dispose]();
  }
}
