/**
 * A vhost-user back-end written by hand, which is as bad as a test wants it: it answers each
 * message as it should, or as the test's script says. It does no requests by itself.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  AttachedHome,
  acceptUnix,
  closeAll,
  createReactor,
  type Fd,
  listenUnix,
  type Reactor,
  receiveMessage,
  SystemError,
  sendMessage,
  type Watch,
} from '../../src/sys/index.ts';
import { FakeDevice } from './fake-device.ts';
import { packed, rawFrame } from './raw-frontend.ts';
import { Id } from './raw-handshake.ts';

const HEADER_BYTES = 12;
const NEED_REPLY = 8;
const REPLY = 1 | 4;
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Id).map(([name, id]) => [id, name]),
);

/** Feature bits: SEG_MAX, BLK_SIZE, FLUSH, MQ; INDIRECT_DESC, PROTOCOL_FEATURES; VERSION_1. */
export const FAKE_FEATURES: bigint =
  (1n << 2n) | (1n << 6n) | (1n << 9n) | (1n << 12n) | (1n << 28n) | (1n << 30n) | (1n << 32n);
/** MQ, REPLY_ACK, BACKEND_REQ, CONFIG, CONFIGURE_MEM_SLOTS. */
export const FAKE_PROTOCOL_FEATURES: bigint = 0b1000_0010_0010_1001n;

/** A message as it came; its descriptors are the back-end's. */
export interface FakeMessage {
  /** `message 99` if it has no name here. */
  readonly name: string;
  readonly id: number;
  readonly payload: Buffer;
  readonly fds: readonly Fd[];
  /** It waits for an answer. */
  readonly isAsking: boolean;
  /** How many messages of this connection came before it. */
  readonly number: number;
}

/** What to do with a message: bytes are sent as they are, instead of the answer. */
export type Reaction = 'usual' | 'silence' | 'refuse' | 'hang up' | Uint8Array;

export interface FakeBackendOptions {
  readonly features?: bigint;
  readonly protocolFeatures?: bigint;
  readonly queues?: bigint;
  /** Default: in a folder of its own. */
  readonly socketPath?: string;
  readonly script?: (message: FakeMessage) => Reaction;
}

/** A frame that answers a message. */
export function answer(id: number, payload: Uint8Array, sizeBytes?: number): Buffer {
  return rawFrame(id, payload, REPLY, sizeBytes);
}

/** Configuration space: sectors, seg_max 126, blocks of 512 bytes, queues. */
export function fakeConfig(sectors: bigint, queues = 1, blockBytes = 512): Buffer {
  const config = Buffer.alloc(60);
  config.writeBigUInt64LE(sectors, 0);
  config.writeUInt32LE(126, 12);
  config.writeUInt32LE(blockBytes, 20);
  config.writeUInt16LE(queues, 34);
  return config;
}

/** See the module's comment. */
export class FakeBackend implements Disposable {
  readonly socketPath: string;
  /** Names of the messages of the last connection. */
  messages: string[] = [];
  /** Connections so far. */
  connections = 0;
  /** What the last connection has set up. */
  device = new FakeDevice();
  config = fakeConfig(2048n);
  script: (message: FakeMessage) => Reaction;
  readonly #folder: string;
  readonly #options: FakeBackendOptions;
  readonly #reactor: Reactor = createReactor('attached').reactor;
  readonly #home = new AttachedHome(this.#reactor);
  readonly #listener: Fd;
  readonly #watch: Watch;
  readonly #clients = new Set<FakeConnection>();

  constructor(options: FakeBackendOptions = {}) {
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), 'fake-backend-'));
    this.socketPath = options.socketPath ?? join(this.#folder, 'socket');
    mkdirSync(dirname(this.socketPath), { recursive: true });
    this.script = options.script ?? (() => 'usual');
    this.#listener = listenUnix(this.socketPath, 8);
    this.#watch = this.#reactor.watch(this.#listener.number, { onReadable: () => this.#accept() });
  }

  #accept(): void {
    for (;;) {
      const socket = acceptUnix(this.#listener.number);
      if (socket === undefined) return;
      this.connections += 1;
      this.messages = [];
      this.device[Symbol.dispose]();
      this.device = new FakeDevice();
      const client: FakeConnection = new FakeConnection(
        this.#reactor,
        socket,
        (message) => this.#handle(client, message),
        () => this.#clients.delete(client),
      );
      this.#clients.add(client);
    }
  }

  #handle(client: FakeConnection, message: FakeMessage): void {
    this.messages.push(message.name);
    const reaction = this.script(message);
    if (reaction === 'hang up') client.close();
    else if (reaction instanceof Uint8Array) client.send(reaction);
    else if (reaction === 'refuse') client.send(answer(message.id, packed(1n)));
    else if (reaction === 'usual') this.#answer(client, message);
    if (reaction === 'usual') this.device.take(message);
    else closeAll(message.fds);
  }

  #answer(client: FakeConnection, { name, id, payload, isAsking }: FakeMessage): void {
    const { features = FAKE_FEATURES, queues = 1n } = this.#options;
    const replies: Readonly<Record<string, () => Buffer>> = {
      GET_FEATURES: () => packed(features),
      GET_PROTOCOL_FEATURES: () => packed(this.#options.protocolFeatures ?? FAKE_PROTOCOL_FEATURES),
      GET_QUEUE_NUM: () => packed(queues),
      GET_MAX_MEM_SLOTS: () => packed(32n),
      GET_CONFIG: () => Buffer.concat([payload.subarray(0, 12), this.config]),
      GET_VRING_BASE: () => payload,
    };
    if (name in replies) client.send(answer(id, replies[name]()));
    else if (isAsking) client.send(answer(id, packed(0n)));
  }

  /** Send bytes to all clients, unasked. */
  say(bytes: Uint8Array): void {
    for (const client of this.#clients) client.send(bytes);
  }

  /** Hang up on all clients. */
  hangUp(): void {
    for (const client of this.#clients) client.close();
  }

  [Symbol.dispose](): void {
    this.hangUp();
    this.device[Symbol.dispose]();
    this.#watch.close();
    this.#listener.close();
    this.#home.close();
    this.#reactor[Symbol.dispose]();
    rmSync(this.socketPath, { force: true });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** One client. */
class FakeConnection {
  readonly #socket: Fd;
  readonly #watch: Watch;
  readonly #onMessage: (message: FakeMessage) => void;
  readonly #onClosed: () => void;
  #received: Buffer = Buffer.alloc(0);
  #fds: Fd[] = [];
  #count = 0;

  constructor(
    reactor: Reactor,
    socket: Fd,
    onMessage: (message: FakeMessage) => void,
    onClosed: () => void,
  ) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.#onClosed = onClosed;
    this.#watch = reactor.watch(socket.number, { onReadable: () => this.#receive() });
  }

  #receive(): void {
    const buffer = new Uint8Array(4096);
    while (this.#socket.isOpen) {
      const received = tolerant(() => receiveMessage(this.#socket.number, buffer), 'hung up');
      if (received === undefined) return;
      if (received === 'hung up' || received.bytes === 0) {
        this.close();
        return;
      }
      this.#fds.push(...received.fds);
      this.#received = Buffer.concat([this.#received, buffer.subarray(0, received.bytes)]);
      this.#deliver();
    }
  }

  #deliver(): void {
    while (this.#socket.isOpen && this.#received.length >= HEADER_BYTES) {
      const bytes = this.#received;
      const end = HEADER_BYTES + bytes.readUInt32LE(8);
      if (bytes.length < end) return;
      this.#received = bytes.subarray(end);
      const id = bytes.readUInt32LE(0);
      // The front-end waits for each answer before it sends more descriptors, or sends none.
      const fds = this.#fds.splice(0);
      const name = NAMES.get(id) ?? `message ${id}`;
      const isAsking = name.startsWith('GET_') || (bytes.readUInt32LE(4) & NEED_REPLY) !== 0;
      const payload = Buffer.from(bytes.subarray(HEADER_BYTES, end));
      this.#onMessage({ name, id, payload, fds, isAsking, number: this.#count++ });
    }
  }

  send(bytes: Uint8Array): void {
    if (this.#socket.isOpen) tolerant(() => sendMessage(this.#socket.number, bytes), 0);
  }

  close(): void {
    if (!this.#socket.isOpen) return;
    this.#watch.close();
    this.#socket.close();
    closeAll(this.#fds);
    this.#onClosed();
  }
}

/** The client may have hung up. */
function tolerant<Value, Otherwise>(body: () => Value, otherwise: Otherwise): Value | Otherwise {
  try {
    return body();
  } catch (error) {
    if (error instanceof SystemError && ['EPIPE', 'ECONNRESET'].includes(error.code)) {
      return otherwise;
    }
    throw error;
  }
}
