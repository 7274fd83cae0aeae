/**
 * A front-end that sends whatever bytes it is told to: no codec, no checks, no state.
 */
import {
  closeAll,
  connectUnix,
  type Fd,
  type Reactor,
  receiveMessage,
  SystemError,
  sendMessage,
  type Watch,
} from '../../src/sys/index.ts';
import { eventually } from './eventually.ts';

/** An answer. */
export interface RawReply {
  readonly id: number;
  readonly flags: number;
  readonly payload: Buffer;
}

const HEADER_BYTES = 12;
/** Flags of a frame: version 1, and with the wish for an acknowledgement. */
export const PLAIN = 1;
export const NEED_REPLY = 1 | 8;
const IS_REPLY = 1 | 4;

/** A frame. `sizeBytes` is what its header says, if that is to be a lie. */
export function rawFrame(
  id: number,
  payload: Uint8Array = new Uint8Array(0),
  flags: number = PLAIN,
  sizeBytes: number = payload.length,
): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(id, 0);
  header.writeUInt32LE(flags, 4);
  header.writeUInt32LE(sizeBytes, 8);
  return Buffer.concat([header, payload]);
}

/** Little-endian numbers in a row: 4 bytes for a number, 8 for a bigint. */
export function packed(...values: readonly (number | bigint)[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
      if (typeof value === 'bigint') bytes.writeBigUInt64LE(value);
      else bytes.writeUInt32LE(value);
      return bytes;
    }),
  );
}

/** See the module's comment. */
export class RawFrontend implements Disposable {
  readonly #socket: Fd;
  readonly #watch: Watch;
  #received = Buffer.alloc(0);
  #isHungUp = false;

  constructor(reactor: Reactor, socketPath: string) {
    this.#socket = connectUnix(socketPath);
    this.#watch = reactor.watch(this.#socket.number, { onReadable: () => this.#receive() });
  }

  #receive(): void {
    const buffer = new Uint8Array(4096);
    try {
      for (;;) {
        const received = receiveMessage(this.#socket.number, buffer);
        if (received === undefined) return;
        closeAll(received.fds);
        if (received.bytes === 0) break;
        this.#received = Buffer.concat([this.#received, buffer.subarray(0, received.bytes)]);
      }
    } catch (error) {
      // Closed with bytes unread: as good as hung up.
      if (!(error instanceof SystemError) || error.code !== 'ECONNRESET') throw error;
    }
    this.#isHungUp = true;
  }

  /** This end of the connection, which has no business in a message. */
  get socket(): Fd {
    return this.#socket;
  }

  /** Send bytes as they are. What the peer does not take because it has hung up is lost. */
  send(bytes: Uint8Array, fds: readonly Fd[] = []): void {
    try {
      sendMessage(this.#socket.number, bytes, fds);
    } catch (error) {
      if (!(error instanceof SystemError) || !['EPIPE', 'ECONNRESET'].includes(error.code)) {
        throw error;
      }
    }
  }

  /** Wait for the next answer. Throws if the server hangs up instead. */
  async reply(): Promise<RawReply> {
    await eventually('the server answers', () => this.#hasReply() || this.#isHungUp);
    if (!this.#hasReply()) throw new Error('the server hung up instead of an answer');
    const bytes = this.#received;
    const end = HEADER_BYTES + bytes.readUInt32LE(8);
    this.#received = bytes.subarray(end);
    const [id, flags] = [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
    if (flags !== IS_REPLY) throw new Error(`an answer with flags ${flags}`);
    return { id, flags, payload: bytes.subarray(HEADER_BYTES, end) };
  }

  #hasReply(): boolean {
    const { length } = this.#received;
    return length >= HEADER_BYTES && length >= HEADER_BYTES + this.#received.readUInt32LE(8);
  }

  /** Send a frame, and return what answers it. */
  async ask(
    id: number,
    payload?: Uint8Array,
    fds: readonly Fd[] = [],
    flags: number = NEED_REPLY,
  ): Promise<Buffer> {
    this.send(rawFrame(id, payload, flags), fds);
    const reply = await this.reply();
    if (reply.id !== id) throw new Error(`message ${id} was answered by ${reply.id}`);
    return reply.payload;
  }

  /** Send a frame, and return its acknowledgement: `ack` or `nack`. */
  async verdict(
    id: number,
    payload?: Uint8Array,
    fds: readonly Fd[] = [],
  ): Promise<'ack' | 'nack'> {
    const payloadOfReply = await this.ask(id, payload, fds);
    if (payloadOfReply.length !== 8) throw new Error(`${payloadOfReply.length} bytes, no ack`);
    return payloadOfReply.readBigUInt64LE() === 0n ? 'ack' : 'nack';
  }

  /** Wait until the server hangs up; answers before that are dropped. */
  async hungUp(): Promise<void> {
    await eventually('the server hangs up', () => this.#isHungUp);
  }

  [Symbol.dispose](): void {
    this.#watch.close();
    this.#socket[Symbol.dispose]();
  }
}
