/**
 * The way to a server that may be lost and found again. While it is lost requests wait, for as long
 * as `reconnect` says; then they fail, and so do new ones until it is back. When it is, what it had
 * acknowledged and not flushed is written again, then what was under way is sent again.
 */
import { type Logger, silentLogger } from '../../sys/index.ts';
import type { ConnectionSettings } from './nbd-connection.ts';
import type { NbdExport } from './nbd-export.ts';
import { CommandFlag, NbdCommand, NbdLostError } from './nbd-protocol.ts';
import { NbdRequest } from './nbd-request.ts';
import { NbdSession } from './nbd-session.ts';
import { UnflushedWrites } from './unflushed-writes.ts';

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2000;

/** See the module's comment. */
export interface LinkSettings extends ConnectionSettings {
  /** Wanted, if the server can have several. */
  readonly connections: number;
  /** How long requests wait for a lost server; 0: it is not looked for. */
  readonly reconnectMs: number;
}

/** What a caller wants. */
export interface LinkRequest {
  /** `NbdCommand`. */
  readonly command: number;
  /** `CommandFlag`s. */
  readonly flags?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly buffers?: readonly Uint8Array[];
  /** Asked for `signal` only if it has to wait for a server. */
  readonly caller?: { readonly signal: AbortSignal };
}

/** See the module's comment. */
export class NbdLink {
  readonly export: NbdExport;
  readonly connectionCount: number;
  logger: Logger = silentLogger;
  readonly #settings: LinkSettings;
  /** Absent: it is being looked for. */
  #session: NbdSession | undefined;
  /** It is there, and has again what it had before. */
  #isUp = true;
  #isOverdue = false;
  #isClosed = false;
  /** Ends the search for a server. */
  readonly #closing = new AbortController();
  #deadline: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #lostBecause = '';
  /** In the order to send them in; with what makes them stop waiting. */
  readonly #waiting = new Map<NbdRequest, () => void>();
  readonly #callers = new WeakMap<NbdRequest, LinkRequest['caller']>();
  /** Absent: there is nothing to flush, or no other server to write it to. */
  readonly #unflushed: UnflushedWrites | undefined;
  #ownFlush: Promise<void> | undefined;
  /** What the next flush has to tell. */
  #flushError: Error | undefined;

  private constructor(settings: LinkSettings, session: NbdSession) {
    this.#settings = settings;
    this.export = session.export;
    this.connectionCount = session.connectionCount;
    const mayReplay = session.export.canFlush && settings.reconnectMs > 0;
    this.#unflushed = mayReplay ? new UnflushedWrites() : undefined;
    this.#watch(session);
  }

  /** Connect for the first time. Rejects with what is in the way. */
  static async open(settings: LinkSettings): Promise<NbdLink> {
    return new NbdLink(settings, await NbdSession.open(settings, settings.connections));
  }

  #watch(session: NbdSession): void {
    this.#session = session;
    session.onLost = (reason, requests) => this.#onLost(reason, requests);
  }

  /** Have the server do something. Rejects with an error that has a `code`. */
  request(wanted: LinkRequest): Promise<void> {
    const { command, flags = 0, offset = 0, length = 0, buffers = [], caller } = wanted;
    if (command === NbdCommand.FLUSH && this.#flushError !== undefined) {
      const error = this.#flushError;
      this.#flushError = undefined;
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const settle = (error: Error | undefined): void => {
        if (error !== undefined) {
          reject(error);
          return;
        }
        this.#noteDone(request);
        resolve();
      };
      const request = new NbdRequest(command, flags, offset, length, buffers, settle);
      if (caller !== undefined) this.#callers.set(request, caller);
      if (request.isChange && this.#unflushed?.isFull === true) {
        this.#flushOwn().then(() => this.#submit(request), reject);
      } else {
        this.#submit(request);
      }
    });
  }

  #submit(request: NbdRequest): void {
    if (this.#isUp && this.#session !== undefined) this.#send(this.#session, request);
    else this.#wait(request);
  }

  #send(session: NbdSession, request: NbdRequest): void {
    if (request.command === NbdCommand.FLUSH) request.mark = this.#unflushed?.mark() ?? 0;
    session.send(request);
  }

  /** The server has done what was asked. */
  #noteDone(request: NbdRequest): void {
    const unflushed = this.#unflushed;
    if (unflushed === undefined) return;
    if (request.command === NbdCommand.FLUSH) unflushed.flushed(request.mark);
    if (!request.isChange) return;
    unflushed.add(request, (request.flags & CommandFlag.FUA) !== 0);
    if (unflushed.shouldFlush) this.#flushOwn().catch(() => {});
  }

  /** Make room among what is not flushed. Rejects if there is no server. */
  #flushOwn(): Promise<void> {
    this.#ownFlush ??= this.request({ command: NbdCommand.FLUSH })
      .catch((error: Error) => {
        if (error instanceof NbdLostError) throw error;
        this.#loseWrites(error);
      })
      .finally(() => {
        this.#ownFlush = undefined;
      });
    return this.#ownFlush;
  }

  /** What was acknowledged may not be there: for whoever flushes next. */
  #loseWrites(error: Error): void {
    this.#unflushed?.clear();
    this.#flushError = error;
  }

  // Waiting for a server.

  #wait(request: NbdRequest): void {
    if (this.#settings.reconnectMs === 0 || this.#isOverdue || this.#isClosed) {
      request.settle(this.#lostError());
      return;
    }
    const signal = this.#callers.get(request)?.signal;
    if (signal === undefined) {
      this.#waiting.set(request, () => {});
      return;
    }
    const onAbort = (): void => {
      this.#waiting.delete(request);
      request.settle(this.#lostError());
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.set(request, () => signal.removeEventListener('abort', onAbort));
  }

  /** All that wait, which they do not any more. */
  #takeWaiting(): NbdRequest[] {
    const requests = [...this.#waiting.keys()];
    for (const stop of this.#waiting.values()) stop();
    this.#waiting.clear();
    return requests;
  }

  #lostError(): NbdLostError {
    return new NbdLostError(`the connection to the server is lost: ${this.#lostBecause}`);
  }

  #onLost(reason: Error, requests: readonly NbdRequest[]): void {
    const { logger } = this;
    const { reconnectMs } = this.#settings;
    this.#session = undefined;
    this.#isUp = false;
    this.#lostBecause = reason.message;
    const later = this.#takeWaiting();
    for (const request of [...requests, ...later]) {
      if (this.#replayed.has(request)) request.settle(this.#lostError());
      else this.#wait(request);
    }
    if (this.#isClosed) return;
    if (reconnectMs === 0) {
      logger.error(`${this.#name}: ${reason.message}: all requests fail from now on`);
      return;
    }
    const seconds = reconnectMs / 1000;
    logger.warn(`${this.#name}: ${reason.message}: requests wait for it, up to ${seconds} s`);
    this.#deadline ??= setTimeout(() => this.#giveUp(), reconnectMs);
    this.#reconnect(FIRST_RETRY_MS);
  }

  #giveUp(): void {
    this.#deadline = undefined;
    this.#isOverdue = true;
    this.logger.error(`${this.#name}: ${this.#lostBecause}: requests fail until it is back`);
    for (const request of this.#takeWaiting()) request.settle(this.#lostError());
  }

  #reconnect(delayMs: number): void {
    const again = (error: Error): void => {
      if (this.#isClosed) return;
      this.#lostBecause = error.message;
      this.#reconnect(Math.min(delayMs * 2, LAST_RETRY_MS));
    };
    this.#retry = setTimeout(() => {
      const { signal } = this.#closing;
      NbdSession.open(this.#settings, this.#settings.connections, signal).then((session) => {
        if (this.#isClosed) void session.close();
        else if (isSame(session.export, this.export)) void this.#resume(session);
        else {
          void session.close();
          again(new Error('what the server offers is not what it was'));
        }
      }, again);
    }, delayMs);
  }

  // What a new server is told first.

  /** Requests of `UnflushedWrites`: they are not sent again but made anew. */
  readonly #replayed = new WeakSet<NbdRequest>();

  async #resume(session: NbdSession): Promise<void> {
    this.#watch(session);
    const count = this.#unflushed?.count ?? 0;
    try {
      await this.#unflushed?.replay((request) => {
        this.#replayed.add(request);
        session.send(request);
      });
    } catch (error) {
      // Lost again in the meantime.
      if (error instanceof NbdLostError) return;
      const { message } = error as Error;
      this.logger.error(`${this.#name}: writing again what was not flushed failed: ${message}`);
      this.#loseWrites(error as Error);
    }
    if (this.#session !== session) return;
    this.#isUp = true;
    this.#isOverdue = false;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    const again = count === 0 ? '' : `, ${count} writes that were not flushed have been repeated`;
    this.logger.info(`${this.#name}: the server is back${again}`);
    for (const request of this.#takeWaiting()) this.#send(session, request);
  }

  get #name(): string {
    return this.#settings.address.uri;
  }

  /** No request is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closing.abort(new Error('it has been closed'));
    clearTimeout(this.#deadline);
    clearTimeout(this.#retry);
    this.#lostBecause = 'it has been closed';
    for (const request of this.#takeWaiting()) request.settle(this.#lostError());
    await this.#ownFlush?.catch(() => {});
    await this.#session?.close();
  }
}

function isSame(one: NbdExport, other: NbdExport): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
