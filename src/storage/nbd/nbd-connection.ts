/** A connection in the transmission phase: requests go out, their replies come in any order. */
import type { ConnectionOptions } from 'node:tls';
import type { NbdExport } from './nbd-export.ts';
import { negotiate } from './nbd-negotiation.ts';
import { NbdCommand, NbdRequestError } from './nbd-protocol.ts';
import { NbdRequest } from './nbd-request.ts';
import { NbdSocket } from './nbd-socket.ts';
import type { NbdAddress } from './nbd-uri.ts';
import { ReplyParser } from './reply-parser.ts';

/** For connecting, TLS and the handshake together. */
export const HANDSHAKE_TIMEOUT_MS = 15_000;
/** After a goodbye the server should hang up; if not, we do. */
const CLOSE_TIMEOUT_MS = 1000;

/** Where to connect to, and how. */
export interface ConnectionSettings {
  readonly address: NbdAddress;
  readonly tls: ConnectionOptions | undefined;
  /** With requests under way, the longest time that nothing comes; 0: any. */
  readonly timeoutMs: number;
}

/** See the module's comment. */
export class NbdConnection {
  readonly export: NbdExport;
  /** It cannot be used any more; its requests have no reply. Called once, unless it was closed. */
  onLost: (reason: Error) => void = () => {};
  readonly #socket: NbdSocket;
  readonly #requests = new Map<number, NbdRequest>();
  readonly #timeoutMs: number;
  #nextCookie = 1;
  #isCorked = false;
  #lostBecause: Error | undefined;
  #isClosing = false;
  #heardAtMs = 0;
  #alarm: NodeJS.Timeout | undefined;
  #ended: () => void = () => {};

  private constructor(
    socket: NbdSocket,
    found: { export: NbdExport; structured: boolean },
    timeoutMs: number,
  ) {
    this.#socket = socket;
    this.export = found.export;
    this.#timeoutMs = timeoutMs;
    const parser = new ReplyParser(found.structured, {
      find: (cookie) => this.#find(cookie),
      onReplied: (request, error) => this.#onReplied(request, error),
    });
    socket.onEnded = (reason) => {
      this.#lose(reason);
      this.#ended();
    };
    socket.deliverTo((bytes) => {
      this.#heardAtMs = performance.now();
      parser.push(bytes);
    });
  }

  /**
   * Connect and go into the export. Rejects with what is in the way.
   *
   * @param signal - gives it up.
   */
  static async open(
    { address, tls, timeoutMs }: ConnectionSettings,
    handshakeMs: number = HANDSHAKE_TIMEOUT_MS,
    signal?: AbortSignal,
  ): Promise<NbdConnection> {
    signal?.throwIfAborted();
    const socket = new NbdSocket(address);
    let isLate = false;
    const giveUp = (): void => {
      isLate = true;
      socket.destroy(new Error());
    };
    const timer = setTimeout(giveUp, handshakeMs);
    const onAbort = (): void => socket.destroy(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort);
    try {
      await socket.connected();
      const { exportName } = address;
      const found = await negotiate(socket, { exportName, tls });
      return new NbdConnection(socket, found, timeoutMs);
    } catch (error) {
      const seconds = handshakeMs / 1000;
      const late = `the server does not get through the handshake within ${seconds} seconds`;
      const reason = isLate ? new Error(late) : (error as Error);
      socket.destroy(reason);
      throw reason;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Why it is lost; `undefined`: it is not. */
  get lostBecause(): Error | undefined {
    return this.#lostBecause;
  }

  /** Requests without a reply. */
  get load(): number {
    return this.#requests.size;
  }

  send(request: NbdRequest): void {
    const cookie = this.#nextCookie++;
    request.begin(cookie);
    // Before it nothing was waited for: what time has passed is no silence.
    if (this.#requests.size === 0) this.#heardAtMs = performance.now();
    this.#requests.set(cookie, request);
    this.#startAlarm();
    this.#cork();
    this.#socket.write(request.header());
    if (request.command !== NbdCommand.WRITE) return;
    request.isSent = false;
    const sent = (): void => this.#onSent(request);
    request.buffers.forEach((buffer, index, { length }) => {
      this.#socket.write(buffer, index === length - 1 ? sent : undefined);
    });
  }

  /** Requests of one turn of the event loop go out in one system call. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      this.#socket.uncork();
    });
  }

  #find(cookie: number): NbdRequest | undefined {
    const request = this.#requests.get(cookie);
    return request?.isReplied === true ? undefined : request;
  }

  #onSent(request: NbdRequest): void {
    request.isSent = true;
    if (request.isReplied) this.#settle(request);
  }

  #onReplied(request: NbdRequest, error: Error | undefined): void {
    if (error instanceof NbdRequestError && error.code === 'ESHUTDOWN') {
      // Not an answer but a farewell; the request may be done by the next server.
      this.#sayGoodbye();
      this.#socket.destroy(new Error('the server is shutting down'));
      return;
    }
    request.isReplied = true;
    // Told before it has been sent: its memory is still with the socket.
    if (request.isSent) this.#settle(request);
  }

  #settle(request: NbdRequest): void {
    if (this.#lostBecause !== undefined) return;
    this.#requests.delete(request.cookie);
    request.settle(request.error);
  }

  #lose(reason: Error): void {
    if (this.#lostBecause !== undefined) return;
    this.#lostBecause = reason;
    clearTimeout(this.#alarm);
    if (!this.#isClosing) this.onLost(reason);
  }

  /** The requests that have got no reply, in the order they were sent in. It is of no use now. */
  abandon(reason: Error): NbdRequest[] {
    this.#lostBecause ??= reason;
    clearTimeout(this.#alarm);
    this.#socket.destroy(reason);
    const left = [...this.#requests.values()];
    this.#requests.clear();
    return left;
  }

  #startAlarm(): void {
    if (this.#timeoutMs === 0 || this.#alarm !== undefined) return;
    this.#setAlarm(this.#timeoutMs);
  }

  #setAlarm(ms: number): void {
    this.#alarm = setTimeout(() => {
      // If we have been held up, what has come in the meantime is read first.
      setImmediate(() => this.#onAlarm());
    }, ms);
  }

  #onAlarm(): void {
    this.#alarm = undefined;
    if (this.#requests.size === 0 || this.#lostBecause !== undefined) return;
    const left = this.#heardAtMs + this.#timeoutMs - performance.now();
    if (left > 0) this.#setAlarm(Math.ceil(left));
    else this.#socket.destroy(new Error(`nothing has come for ${this.#timeoutMs / 1000} s`));
  }

  #sayGoodbye(): void {
    const goodbye = new NbdRequest(NbdCommand.DISC, 0, 0, 0, [], () => {});
    this.#socket.write(goodbye.header());
  }

  /** End it politely: no request is under way. */
  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.#lostBecause !== undefined) return;
    const ended = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    this.#sayGoodbye();
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(new Error('closed')), CLOSE_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }
}
