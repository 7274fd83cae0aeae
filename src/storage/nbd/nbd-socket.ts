/**
 * The bytes of one connection. They come to a sink: the handshake's first, which puts them together
 * to what it waits for, then that of the transmission phase.
 */
import { createConnection, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { NbdProtocolError } from './nbd-protocol.ts';
import { startTls } from './nbd-tls.ts';
import type { NbdAddress } from './nbd-uri.ts';

/** Received at a time; without TLS always into the same memory. */
const RECEIVE_BYTES = 256 * 1024;
/** What a server may say in advance during the handshake. */
const MAX_UNREAD_BYTES = 32 * 1024;
/** After which idle time the kernel asks whether the other side is still there. */
const KEEP_ALIVE_MS = 15_000;

/** Gets what comes: a view that is good until it returns. Throws if that makes no sense. */
export type ByteSink = (bytes: Uint8Array) => void;

/** See the module's comment. */
export class NbdSocket {
  /** The connection is over; never within a call of a method of ours. */
  onEnded: (reason: Error) => void = () => {};
  #socket: Socket;
  #sink: ByteSink;
  #reason: Error | undefined;
  #isEnded = false;
  #unread: Buffer = Buffer.alloc(0);
  #wanted:
    | { bytes: number; resolve: (found: Buffer) => void; reject: (error: Error) => void }
    | undefined;

  /** Begin to connect. */
  constructor(address: NbdAddress) {
    this.#sink = (bytes) => this.#collect(bytes);
    const where =
      address.socketPath === undefined
        ? { host: address.host, port: address.port ?? 0 }
        : { path: address.socketPath };
    const onread = {
      buffer: Buffer.allocUnsafe(address.tls ? 0 : RECEIVE_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean => {
        this.#receive(buffer.subarray(0, length));
        return true;
      },
    };
    this.#socket = createConnection({ ...where, ...(address.tls ? {} : { onread }) });
    this.#socket.setNoDelay(true);
    this.#socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#listen();
    if (address.tls) this.#socket.on('data', this.#onData);
  }

  /** Resolves when there is a connection. Rejects with the system's error. */
  async connected(): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.onEnded = reject;
        this.#socket.once('connect', resolve);
      });
    } finally {
      this.onEnded = () => {};
    }
  }

  readonly #onData = (bytes: Uint8Array): void => this.#receive(bytes);

  #listen(): void {
    this.#socket.on('error', (error) => {
      this.#reason ??= error;
    });
    this.#socket.once('close', () =>
      this.#end(this.#reason ?? new Error('the server has closed the connection')),
    );
  }

  #receive(bytes: Uint8Array): void {
    if (this.#isEnded || this.#reason !== undefined) return;
    try {
      this.#sink(bytes);
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #end(reason: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#wanted?.reject(reason);
    this.#wanted = undefined;
    this.onEnded(reason);
  }

  // The handshake.

  #collect(bytes: Uint8Array): void {
    if (this.#unread.length + bytes.length > MAX_UNREAD_BYTES) {
      throw new NbdProtocolError('the server sends more than it was asked for');
    }
    this.#unread = Buffer.concat([this.#unread, bytes]);
    this.#answer();
  }

  #answer(): void {
    const wanted = this.#wanted;
    if (wanted === undefined || this.#unread.length < wanted.bytes) return;
    this.#wanted = undefined;
    const found = this.#unread.subarray(0, wanted.bytes);
    this.#unread = this.#unread.subarray(wanted.bytes);
    wanted.resolve(found);
  }

  /** The next bytes, at most 16 KiB; one read at a time. Rejects when the connection ends. */
  read(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#isEnded) {
        reject(this.#reason ?? new Error('the connection has ended'));
        return;
      }
      this.#wanted = { bytes, resolve, reject };
      this.#answer();
    });
  }

  /** Go on with TLS. Rejects if the server's certificate is not what is asked for. */
  async startTls(options: ConnectionOptions): Promise<void> {
    if (this.#unread.length > 0) {
      // Whoever sits between could have put in what would count as said under TLS.
      throw new NbdProtocolError('the server goes on without TLS after agreeing to it');
    }
    this.#socket.off('data', this.#onData);
    const secured = await startTls(this.#socket, options);
    this.#socket = secured;
    this.#listen();
    secured.on('data', this.#onData);
  }

  // The transmission phase.

  /** The handshake is over. */
  deliverTo(sink: ByteSink): void {
    this.#sink = sink;
    const rest = this.#unread;
    this.#unread = Buffer.alloc(0);
    if (rest.length > 0) this.#receive(rest);
  }

  /** Have writes of this turn of the event loop sent together. */
  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  /** @param sent - called when the bytes are not needed any more; not after `destroy`. */
  write(bytes: Uint8Array, sent?: () => void): void {
    if (this.#isEnded || this.#reason !== undefined) return;
    this.#socket.write(bytes, sent && ((error) => (error ? undefined : sent())));
  }

  /** Nothing more is sent after what has been. */
  end(): void {
    this.#socket.end();
  }

  /** Be done with it, now: no memory that it was given is touched any more. */
  destroy(reason: Error): void {
    if (this.#reason === undefined) this.#reason = reason;
    this.#socket.destroy();
  }
}
