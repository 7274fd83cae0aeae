/** A web server in this process that sends ranges of one file, and can be made to do it badly. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** See the module's comment. */
export interface RangeServerOptions {
  readonly content: Buffer;
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
  /** Headers of a range that are other than they should be. */
  readonly headers?: Readonly<Record<string, string>>;
  /** True: it has been dealt with. */
  onRequest?(
    request: IncomingMessage,
    response: ServerResponse,
    range: readonly [start: number, end: number],
  ): boolean | undefined;
}

/** See the module's comment. */
export class RangeServer implements AsyncDisposable {
  options: RangeServerOptions;
  /** The ranges that were asked for. */
  readonly ranges: (readonly [start: number, end: number])[] = [];
  /** Connections since the beginning. */
  connections = 0;
  readonly #server: Server;

  private constructor(options: RangeServerOptions) {
    this.options = options;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.on('connection', () => {
      this.connections += 1;
    });
  }

  static async start(options: RangeServerOptions): Promise<RangeServer> {
    const server = new RangeServer(options);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}/disk.img`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { content, onRequest } = this.options;
    const found = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const range = [Number(found?.[1]), Math.min(Number(found?.[2]) + 1, content.length)] as const;
    this.ranges.push(range);
    if (onRequest?.(request, response, range) === true) return;
    this.send(request, response, range);
  }

  /** As it should be. */
  send(
    request: IncomingMessage,
    response: ServerResponse,
    [start, end]: readonly [start: number, end: number],
  ): void {
    const { content, etag, lastModified, headers } = this.options;
    if (etag !== undefined) response.setHeader('etag', etag);
    if (lastModified !== undefined) response.setHeader('last-modified', lastModified);
    const wanted = request.headers['if-range'];
    if (wanted !== undefined && wanted !== etag && wanted !== lastModified) {
      response.end(content);
      return;
    }
    if (start >= content.length) {
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
      return;
    }
    response.writeHead(206, {
      'content-range': `bytes ${start}-${end - 1}/${content.length}`,
      'content-length': end - start,
      ...headers,
    });
    response.end(content.subarray(start, end));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
