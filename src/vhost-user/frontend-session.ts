/**
 * The front-end's side of a connection: asks, and waits for the answer within bounds.
 *
 * Requests may overlap; answers come in the order of the requests. Every wait ends: with the
 * answer, with the connection, or with the time limit.
 */
import {
  closeAll,
  createSocketPair,
  type Fd,
  type Logger,
  type Reactor,
  silentLogger,
} from '../sys/index.ts';
import { Channel, type Frame, FrameFlag } from './channel.ts';
import { ProtocolError } from './errors.ts';
import {
  acknowledgement,
  BackendMessages,
  declarationOf,
  type FrontendMessageName,
  type ReplyOf,
  type RequestOf,
} from './messages.ts';
import type { Payload } from './payload.ts';
import { hasProtocolFeature } from './protocol-features.ts';
import { FieldError } from './struct.ts';

export interface FrontendSessionOptions {
  readonly reactor: Reactor;
  /** Connected; the session takes it over. */
  readonly socket: Fd;
  /** Longest wait for an answer, in milliseconds. Default: 10 s. */
  readonly timeoutMs?: number;
  readonly logger?: Logger;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** A request that waits for its answer. */
interface Waiting {
  readonly name: FrontendMessageName;
  readonly resolve: (answer: Frame) => void;
  readonly reject: (error: ProtocolError) => void;
  readonly timer: NodeJS.Timeout;
}

/** See the module's comment. */
export class FrontendSession {
  /** Whether VHOST_USER_F_PROTOCOL_FEATURES was negotiated: set by whoever negotiates. */
  hasProtocolFeatures = false;
  /** Negotiated protocol features: set by whoever sends SET_PROTOCOL_FEATURES. */
  protocolFeatures = 0n;
  /** The back-end says that the configuration space has changed. */
  onConfigChange: () => void = () => {};
  /**
   * The connection has ended otherwise than by `close`. Its socket is closed after this: whoever
   * watches it must stop.
   */
  onDisconnect: (reason: ProtocolError) => void = () => {};
  readonly #reactor: Reactor;
  readonly #channel: Channel;
  readonly #timeoutMs: number;
  readonly #logger: Logger;
  #waiting: Waiting[] = [];
  #end: ProtocolError | undefined;
  #backendChannel: Channel | undefined;

  constructor(options: FrontendSessionOptions) {
    this.#reactor = options.reactor;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#logger = options.logger ?? silentLogger;
    this.#channel = new Channel(options.reactor, options.socket, {
      onFrame: async (frame) => this.#onReply(frame),
      onClosed: (reason) => this.#endWith(whyClosed(reason)),
    });
  }

  /** The connection, for those who watch it. Stays the session's. */
  get socketNumber(): number {
    return this.#channel.socketNumber;
  }

  /** Why the session has ended, if it has. */
  get end(): ProtocolError | undefined {
    return this.#end;
  }

  /**
   * Send a message and wait for its reply; without one of its own, for its acknowledgement if
   * REPLY_ACK was negotiated, else not at all.
   *
   * @throws ProtocolError REFUSED, DISCONNECTED, NO_REPLY or BAD_PAYLOAD.
   */
  async request<Name extends FrontendMessageName>(
    name: Name,
    payload: RequestOf<Name>,
    fds: readonly Fd[] = [],
  ): Promise<ReplyOf<Name>> {
    const frame = await this.#exchange(name, payload, fds);
    if (frame === undefined) return undefined as ReplyOf<Name>;
    closeAll(frame.fds);
    const { reply } = declarationOf(name);
    if (reply !== undefined) return decodeAnswer(name, reply, frame.payload) as ReplyOf<Name>;
    const status = decodeAnswer(name, acknowledgement, frame.payload);
    if (status.value !== 0n) throw new ProtocolError('REFUSED', `${name} was refused`);
    return undefined as ReplyOf<Name>;
  }

  /** As `request`, for a message whose reply brings a descriptor: the caller's from then on. */
  async requestDescriptor<Name extends FrontendMessageName>(
    name: Name,
    payload: RequestOf<Name>,
  ): Promise<{ readonly reply: ReplyOf<Name>; readonly fd: Fd }> {
    const frame = (await this.#exchange(name, payload, [])) as Frame;
    const [fd, ...rest] = frame.fds;
    try {
      const codec = declarationOf(name).reply as Payload<unknown>;
      const reply = decodeAnswer(name, codec, frame.payload) as ReplyOf<Name>;
      if (fd === undefined || rest.length > 0) {
        const text = `${name} was answered with ${frame.fds.length} descriptors, not one`;
        throw new ProtocolError('BAD_DESCRIPTORS', text);
      }
      return { reply, fd };
    } catch (error) {
      closeAll(frame.fds);
      throw error;
    }
  }

  /** Send a message and wait for what answers it; undefined: nothing does. */
  async #exchange<Name extends FrontendMessageName>(
    name: Name,
    payload: RequestOf<Name>,
    fds: readonly Fd[],
  ): Promise<Frame | undefined> {
    const declaration = declarationOf(name);
    const bytes = declaration.request.encode(payload);
    const hasReply = declaration.reply !== undefined;
    const wantsAck = !hasReply && hasProtocolFeature(this.protocolFeatures, 'REPLY_ACK');
    this.#checkOpen(name);
    this.#logger.debug(`-> ${name} ${declaration.request.format(payload)}`);
    const answer = hasReply || wantsAck ? this.#waitFor(name) : undefined;
    this.#channel.send(declaration.id, wantsAck ? FrameFlag.NEED_REPLY : 0, bytes, fds);
    if (answer === undefined) this.#checkOpen(name);
    return answer;
  }

  /** Open the channel on which the back-end speaks first. */
  async openBackendChannel(): Promise<void> {
    // A session that was closed may have lost its reactor, too.
    this.#checkOpen('SET_BACKEND_REQ_FD');
    const [ours, theirs] = createSocketPair();
    this.#backendChannel = new Channel(this.#reactor, ours, {
      onFrame: async (frame) => this.#onBackendMessage(frame),
      onClosed: () => {},
    });
    try {
      await this.request('SET_BACKEND_REQ_FD', null, [theirs]);
    } finally {
      theirs.close();
    }
  }

  /** Hang up. What waits for an answer fails. */
  close(): void {
    this.#end ??= new ProtocolError('DISCONNECTED', 'the session was closed');
    this.#rejectAll(this.#end);
    this.#backendChannel?.close();
    this.#channel.close();
  }

  #checkOpen(name: FrontendMessageName): void {
    const reason = this.#end;
    if (reason === undefined) return;
    throw new ProtocolError('DISCONNECTED', `${name}: ${reason.message}`, { cause: reason });
  }

  #waitFor(name: FrontendMessageName): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#endWith(new ProtocolError('NO_REPLY', `${name}: no answer in ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      this.#waiting.push({ name, resolve, reject, timer });
    });
  }

  #onReply(frame: Frame): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) {
      closeAll(frame.fds);
      this.#endWith(new ProtocolError('BAD_PAYLOAD', `answer to nothing: message ${frame.id}`));
      return;
    }
    clearTimeout(waiting.timer);
    const isReply = (frame.flags & FrameFlag.REPLY) !== 0;
    if (isReply && frame.id === declarationOf(waiting.name).id) {
      waiting.resolve(frame);
      return;
    }
    closeAll(frame.fds);
    const text = `${waiting.name} was answered by message ${frame.id}, flags ${frame.flags}`;
    const error = new ProtocolError('BAD_PAYLOAD', text);
    waiting.reject(error);
    this.#endWith(error);
  }

  #onBackendMessage(frame: Frame): void {
    closeAll(frame.fds);
    if (frame.id === BackendMessages.CONFIG_CHANGE_MSG.id) this.onConfigChange();
    if ((frame.flags & FrameFlag.NEED_REPLY) === 0) return;
    const status = acknowledgement.encode({ value: 0n });
    this.#backendChannel?.send(frame.id, FrameFlag.REPLY, status);
  }

  /** The answers cannot be told apart any more, or there will be none. */
  #endWith(reason: ProtocolError): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#rejectAll(reason);
    try {
      this.onDisconnect(reason);
    } finally {
      this.#channel.close();
      this.#backendChannel?.close();
    }
  }

  #rejectAll(reason: ProtocolError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { name, reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new ProtocolError(reason.code, `${name}: ${reason.message}`, { cause: reason }));
    }
  }
}

function whyClosed(reason: ProtocolError | undefined): ProtocolError {
  if (reason !== undefined && reason.code !== 'DISCONNECTED') return reason;
  const why = reason === undefined ? '' : `: ${reason.message}`;
  return new ProtocolError('DISCONNECTED', `the back-end hung up${why}`);
}

/** Throws a `ProtocolError` if the back-end has answered with something else. */
function decodeAnswer<Value>(name: string, codec: Payload<Value>, bytes: Uint8Array): Value {
  if (!codec.accepts(bytes.length)) {
    throw new ProtocolError('BAD_PAYLOAD', `${name} was answered with ${bytes.length} bytes`);
  }
  try {
    return codec.decode(bytes);
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    throw new ProtocolError('BAD_PAYLOAD', `${name}: ${error.message}`, { cause: error });
  }
}
