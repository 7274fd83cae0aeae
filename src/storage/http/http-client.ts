/** GET requests over a few connections that are kept; redirects are followed. */
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { WaitingLine } from './waiting-line.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** What comes with a status that is not looked at is read to its end if it is no more than this. */
const MAX_IGNORED_BYTES = 64 * 1024;
/** And if it has come by then. */
const MAX_IGNORED_MS = 1000;

/** How to reach servers. */
export interface HttpClientOptions {
  /** At once; further requests wait. */
  readonly connections: number;
  /** Longest time in which nothing comes on a connection, or it does not come about. */
  readonly idleMs: number;
  /** Certificates of authorities to trust; absent: those that Node.js trusts. */
  readonly ca?: Buffer | undefined;
}

/** The head of an answer; its body is to be read, or ignored. */
export interface HttpAnswer {
  readonly message: IncomingMessage;
  readonly status: number;
  /** Where it came from in the end. */
  readonly url: URL;
}

/** See the module's comment. */
export class HttpClient {
  readonly #agents: { readonly 'http:': http.Agent; readonly 'https:': https.Agent };
  readonly #idleMs: number;
  /** Not the agents': those who give up have to leave it. */
  readonly #line: WaitingLine;

  constructor({ connections, idleMs, ca }: HttpClientOptions) {
    const options = { keepAlive: true, maxSockets: connections };
    this.#agents = {
      'http:': new http.Agent(options),
      'https:': new https.Agent({ ...options, ...(ca === undefined ? {} : { ca }) }),
    };
    this.#idleMs = idleMs;
    this.#line = new WaitingLine(connections);
  }

  /**
   * Rejects with the system's errors, and if redirects lead nowhere.
   *
   * @param signal - ends it, whatever it waits for: a connection, the head, or, when that is there,
   *   its body. What fails then fails with the signal's reason.
   */
  async get(
    start: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    await this.#line.enter(signal);
    try {
      const answer = await this.#follow(start, headers, signal);
      answer.message.once('close', () => this.#line.leave());
      return answer;
    } catch (error) {
      this.#line.leave();
      throw error;
    }
  }

  async #follow(
    start: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    let url = start;
    for (let count = 0; count <= MAX_REDIRECTS; count++) {
      const message = await this.#getOnce(url, headers, signal);
      const status = message.statusCode ?? 0;
      const { location } = message.headers;
      if (!REDIRECTS.has(status) || location === undefined) return { message, status, url };
      ignoreBody(message);
      url = redirected(url, location);
    }
    throw new Error(`more than ${MAX_REDIRECTS} redirects`);
  }

  #getOnce(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      let message: IncomingMessage | undefined;
      const onHead = (head: IncomingMessage): void => {
        message = head;
        resolve(head);
      };
      // Unlike that of `setTimeout`, this time counts from before there is a connection.
      const options = { headers, timeout: this.#idleMs };
      const request =
        url.protocol === 'https:'
          ? https.get(url, { ...options, agent: this.#agents['https:'] }, onHead)
          : http.get(url, { ...options, agent: this.#agents['http:'] }, onHead);
      const fail = (reason: Error): void => {
        // A request that still waits in its agent says nothing of its end.
        reject(reason);
        (message ?? request).destroy(reason);
      };
      const onAbort = (): void => fail(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      request.on('close', () => signal.removeEventListener('abort', onAbort));
      request.on('timeout', () => fail(new Error(`nothing has come for ${this.#idleMs / 1000} s`)));
      request.on('error', reject);
    });
  }

  /** End all connections. */
  close(): void {
    this.#agents['http:'].destroy();
    this.#agents['https:'].destroy();
  }
}

function redirected(from: URL, location: string): URL {
  if (!URL.canParse(location, from.href)) throw new Error('a redirect to something that is no URL');
  const to = new URL(location, from);
  const isWeb = to.protocol === 'http:' || to.protocol === 'https:';
  if (!isWeb) throw new Error(`a redirect to ${to.protocol}, which is not followed`);
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new Error('a redirect from https: to http:, which is not followed');
  }
  if (to.origin === from.origin && to.username === '') {
    to.username = from.username;
    to.password = from.password;
  }
  return to;
}

/** Be done with an answer; its connection is kept if that costs little. */
export function ignoreBody(message: IncomingMessage): void {
  message.on('error', () => {});
  const length = Number(message.headers['content-length'] ?? Number.NaN);
  if (!(length <= MAX_IGNORED_BYTES)) {
    message.destroy();
    return;
  }
  const timer = setTimeout(() => message.destroy(), MAX_IGNORED_MS);
  message.on('close', () => clearTimeout(timer));
  message.resume();
}
