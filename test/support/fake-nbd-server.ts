/**
 * An NBD server in this process, to be made to do what real ones do not. It has a volatile cache:
 * a crash loses what has not been flushed.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ALL_FLAGS,
  blockSizeInfo,
  chunk,
  exportInfo,
  optionReply,
  simpleReply,
  u,
} from './nbd-messages.ts';

const MIB = 2 ** 20;
const OPTION_MAGIC = 0x49484156454f5054n;

/** What it says and does; the rest is done as it should be. */
export interface FakeNbdOptions {
  readonly sizeBytes?: number;
  /** What it says its size is; default: the size it has. */
  readonly claimedBytes?: number;
  readonly flags?: number;
  /** In place of everything from the first byte on. */
  readonly greet?: (connection: FakeNbdConnection) => void | Promise<void>;
  /** The handshake's flags; default: fixed newstyle, no zeroes. */
  readonly handshakeFlags?: number;
  /** Options with a reply of their own: bytes, or `false` to know nothing of them. */
  readonly options?: Readonly<Record<number, Buffer | false>>;
  readonly blockSizes?: readonly [min: number, preferred: number, max: number];
  /** A write is answered when its header has come; its data is read after `readOn`. */
  readonly readsDataLate?: boolean;
  /** True: it has been dealt with. Default: as it should be. */
  onRequest?(request: FakeNbdRequest, connection: FakeNbdConnection): boolean | Promise<boolean>;
}

/** A request as it came. */
export interface FakeNbdRequest {
  readonly flags: number;
  readonly type: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer;
}

/** One client. */
export class FakeNbdConnection {
  readonly socket: Socket;
  structured = false;
  #unread = Buffer.alloc(0);
  #wake: () => void = () => {};
  #isOver = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#unread = Buffer.concat([this.#unread, bytes]);
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isOver = true;
      this.#wake();
    });
  }

  /** The next bytes; throws at the end. */
  async read(bytes: number): Promise<Buffer> {
    while (this.#unread.length < bytes) {
      if (this.#isOver) throw new Error('over');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const found = this.#unread.subarray(0, bytes);
    this.#unread = this.#unread.subarray(bytes);
    return found;
  }

  send(...bytes: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }
}

/** See the module's comment. */
export class FakeNbdServer implements AsyncDisposable {
  /** What reads see, and what a crash leaves. */
  readonly content: Buffer;
  readonly stable: Buffer;
  /** All that has come, from all clients. */
  readonly requests: FakeNbdRequest[] = [];
  readonly connections: FakeNbdConnection[] = [];
  options: FakeNbdOptions;
  repliedEarly = false;
  readOn: () => void = () => {};
  readonly #folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  readonly #path = join(this.#folder, 'socket');
  #server: Server;

  private constructor(options: FakeNbdOptions) {
    this.options = options;
    this.content = Buffer.alloc(options.sizeBytes ?? MIB);
    this.stable = Buffer.alloc(this.content.length);
    this.#server = this.#listen();
  }

  static async start(options: FakeNbdOptions = {}): Promise<FakeNbdServer> {
    const server = new FakeNbdServer(options);
    await once(server.#server, 'listening');
    return server;
  }

  get uri(): string {
    return `nbd+unix:///disk?socket=${this.#path}`;
  }

  get flags(): number {
    return this.options.flags ?? ALL_FLAGS;
  }

  #listen(): Server {
    const server = createServer((socket) => {
      const connection = new FakeNbdConnection(socket);
      this.connections.push(connection);
      this.#serve(connection).catch(() => socket.destroy());
    });
    return server.listen(this.#path);
  }

  /** Hang up on all; what was not flushed is lost. Nobody is answered until `restart`. */
  async crash(): Promise<void> {
    this.stable.copy(this.content);
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.hangUp();
    await closed;
  }

  /** Hang up on all, and go on. */
  hangUp(): void {
    for (const { socket } of this.connections.splice(0)) socket.destroy();
  }

  async restart(): Promise<void> {
    this.#server = this.#listen();
    await once(this.#server, 'listening');
  }

  async #serve(connection: FakeNbdConnection): Promise<void> {
    const { greet, handshakeFlags = 3 } = this.options;
    if (greet !== undefined) {
      await greet(connection);
      return;
    }
    connection.send(Buffer.from('NBDMAGICIHAVEOPT'), u(2, handshakeFlags));
    await connection.read(4);
    while (!(await this.#option(connection))) {
      // The next one.
    }
    for (;;) await this.#request(connection);
  }

  /** True: it was the last. */
  async #option(connection: FakeNbdConnection): Promise<boolean> {
    const header = await connection.read(16);
    if (header.readBigUInt64BE(0) !== OPTION_MAGIC) throw new Error('no option');
    const option = header.readUInt32BE(8);
    await connection.read(header.readUInt32BE(12));
    const own = this.options.options?.[option];
    const size = this.options.claimedBytes ?? this.content.length;
    if (own instanceof Buffer) connection.send(own);
    else if (own === false) connection.send(optionReply(option, 2 ** 31 + 1));
    else if (option === 1) {
      const zeroes = (this.options.handshakeFlags ?? 3) & 2 ? 0 : 124;
      connection.send(u(8, size, 2, this.flags), Buffer.alloc(zeroes));
      return true;
    } else if (option === 8) {
      connection.structured = true;
      connection.send(optionReply(option, 1));
    } else if (option === 7) {
      connection.send(optionReply(option, 3, exportInfo(size, this.flags)));
      const { blockSizes } = this.options;
      if (blockSizes) connection.send(optionReply(option, 3, blockSizeInfo(...blockSizes)));
      connection.send(optionReply(option, 1));
      return true;
    } else connection.send(optionReply(option, 2 ** 31 + 1));
    return false;
  }

  async #request(connection: FakeNbdConnection): Promise<void> {
    const header = await connection.read(28);
    if (header.readUInt32BE(0) !== 0x25609513) throw new Error('no request');
    const type = header.readUInt16BE(6);
    const length = header.readUInt32BE(24);
    const isLate = type === 1 && this.options.readsDataLate === true;
    if (isLate) await this.#replyEarly(header, connection);
    const request: FakeNbdRequest = {
      flags: header.readUInt16BE(4),
      type,
      cookie: header.readBigUInt64BE(8),
      offset: Number(header.readBigUInt64BE(16)),
      length,
      data: Buffer.from(type === 1 ? await connection.read(length) : []),
    };
    this.requests.push(request);
    if ((await this.options.onRequest?.(request, connection)) === true) return;
    if (isLate) request.data.copy(this.content, request.offset);
    else this.answer(request, connection);
  }

  async #replyEarly(header: Buffer, connection: FakeNbdConnection): Promise<void> {
    connection.socket.pause();
    connection.send(simpleReply(header.readBigUInt64BE(8)));
    this.repliedEarly = true;
    await new Promise<void>((resolve) => {
      this.readOn = resolve;
    });
    connection.socket.resume();
  }

  /** Do a request as it should be done. */
  answer(request: FakeNbdRequest, connection: FakeNbdConnection): void {
    const { type, cookie, offset, length, data, flags } = request;
    if (type === 0) {
      const found = this.content.subarray(offset, offset + length);
      if (connection.structured)
        connection.send(chunk(cookie, 1, 1, Buffer.concat([u(8, offset), found])));
      else connection.send(simpleReply(cookie, 0, found));
      return;
    }
    if (type === 1) data.copy(this.content, offset);
    if (type === 4 || type === 6) this.content.fill(0, offset, offset + length);
    if (type === 3) this.content.copy(this.stable);
    if (flags & 1) this.content.copy(this.stable, offset, offset, offset + length);
    if (type === 2) connection.socket.end();
    else connection.send(simpleReply(cookie));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp();
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, 'close');
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
