/**
 * A file on a web server, read in ranges. It has to stay what it was: its size, ETag and date are
 * compared with each answer, and the server is told to send no range of another one (If-Range).
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type HttpAnswer, type HttpClient, ignoreBody } from './http-client.ts';
import { changeOf, type FileIdentity, identityOf, rangeLength } from './http-identity.ts';

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2000;

/** Takes what has come: bytes, and where they belong in the file. */
export type RangeSink = (bytes: Uint8Array, at: number) => void;

type ByteSink = (bytes: Uint8Array) => void;

/** Perhaps it works the next time. */
class PassingError extends Error {
  /** The server's wish. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Reading has failed. `code`: for the guest. */
export class HttpReadError extends Error {
  override readonly name = 'HttpReadError';
  readonly code = 'EIO';
}

/** See the module's comment. */
export class HttpFile {
  readonly identity: FileIdentity;
  readonly #client: HttpClient;
  /** As it was given, and where it is after redirects. */
  readonly #given: URL;
  #url: URL;
  readonly #timeoutMs: number;
  /** It is another file by now: nothing is read any more. */
  #change: string | undefined;
  /** Those under way. */
  readonly #reads = new Set<AbortController>();

  private constructor(client: HttpClient, given: URL, answer: HttpAnswer, timeoutMs: number) {
    this.#client = client;
    this.#given = given;
    this.#url = answer.url;
    this.identity = identityOf(answer);
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Ask for a file. Rejects with a sentence that says what is in the way.
   *
   * @param timeoutMs - how long this, and later a range, may take, with all it waits for.
   */
  static async open(client: HttpClient, url: URL, timeoutMs: number): Promise<HttpFile> {
    const late = `the server has not answered within ${timeoutMs / 1000} s`;
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(new Error(late)), timeoutMs);
    try {
      const answer = await client.get(url, headersOf('bytes=0-0'), ending.signal);
      ignoreBody(answer.message);
      return new HttpFile(client, url, answer, timeoutMs);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Read a range that lies within the file. Rejects with an `HttpReadError`. */
  async read(offset: number, length: number, sink: RangeSink): Promise<void> {
    const late = `the server has not sent a range within ${this.#timeoutMs / 1000} s`;
    const ending = new AbortController();
    const { signal } = ending;
    const timer = setTimeout(() => ending.abort(new Error(late)), this.#timeoutMs);
    this.#reads.add(ending);
    try {
      await this.#readInTime(offset, offset + length, sink, signal);
    } catch (error) {
      const { message } = (signal.aborted ? signal.reason : error) as Error;
      throw new HttpReadError(message);
    } finally {
      clearTimeout(timer);
      this.#reads.delete(ending);
    }
  }

  async #readInTime(
    start: number,
    end: number,
    sink: RangeSink,
    signal: AbortSignal,
  ): Promise<void> {
    const deadlineMs = performance.now() + this.#timeoutMs;
    let at = start;
    const take: ByteSink = (bytes) => {
      sink(bytes, at);
      at += bytes.length;
    };
    for (let delayMs = FIRST_RETRY_MS; at < end; delayMs = Math.min(delayMs * 2, LAST_RETRY_MS)) {
      try {
        await this.#attempt(at, end, take, signal);
      } catch (error) {
        if (!(error instanceof PassingError)) throw error;
        // Where redirects lead may hold for some time only.
        this.#url = this.#given;
        const waitMs = Math.max(delayMs, error.retryAfterMs);
        if (performance.now() + waitMs > deadlineMs) throw error;
        await sleep(waitMs, undefined, { signal });
      }
    }
  }

  /** Read what comes of a range; it may be less, and then it was not all. */
  async #attempt(start: number, end: number, take: ByteSink, signal: AbortSignal): Promise<void> {
    if (this.#change !== undefined) throw new Error(this.#change);
    const { validator } = this.identity;
    const headers = headersOf(`bytes=${start}-${end - 1}`, validator);
    const from = this.#url;
    const answer = await this.#get(from, headers, signal);
    const { message, status } = answer;
    if (status !== 206) {
      ignoreBody(message);
      throw this.#refusal(answer, from);
    }
    this.#change ??= changeOf(answer, this.identity);
    this.#url = answer.url;
    try {
      if (this.#change !== undefined) throw new Error(this.#change);
      await receive(message, rangeLength(answer, start, end), take);
    } catch (error) {
      message.destroy();
      throw error;
    }
  }

  async #get(
    from: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    try {
      return await this.#client.get(from, headers, signal);
    } catch (error) {
      throw new PassingError((error as Error).message);
    }
  }

  #refusal({ status, message }: HttpAnswer, from: URL): Error {
    const { statusMessage = '' } = message;
    const text = `the server answers ${status} ${statusMessage.slice(0, 80)}`.trimEnd();
    if (status === 200 || status === 412 || status === 416) {
      this.#change = `the file has changed on the server: it answers ${status} to a range of it`;
      return new Error(this.#change);
    }
    if (status === 408 || status === 425 || status === 429 || status >= 500) {
      return new PassingError(text, retryAfterMs(message));
    }
    // Others may have found out already: what counts is where this one has asked.
    return from === this.#given ? new Error(text) : new PassingError(text);
  }

  /** Nobody waits for what is under way: it was to be read in advance. */
  close(): void {
    for (const ending of this.#reads) ending.abort(new Error('the disk is being closed'));
    this.#client.close();
  }
}

function headersOf(range: string, validator?: string): Record<string, string> {
  const common = { range, 'accept-encoding': 'identity', 'user-agent': 'vhostkit' };
  return validator === undefined ? common : { ...common, 'if-range': validator };
}

function retryAfterMs(message: IncomingMessage): number {
  const seconds = Number(message.headers['retry-after'] ?? 0);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}

/** Resolves when all of a body has come. */
function receive(message: IncomingMessage, length: number, take: ByteSink): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = length;
    let isOver = false;
    const fail = (text: string): void => {
      isOver = true;
      reject(new PassingError(text));
    };
    message.on('data', (bytes: Buffer) => {
      if (isOver) return;
      if (bytes.length > left) {
        fail('the server sends more than it says');
        return;
      }
      left -= bytes.length;
      take(bytes);
    });
    message.on('end', () => (left === 0 ? resolve() : fail('the server sends less than it says')));
    message.on('error', (error) => fail(error.message));
    message.on('close', () => fail('the connection has been closed'));
  });
}
