/**
 * The back-end's side of one connection: takes frames, checks them against declarations and state,
 * lets a handler act, and answers.
 *
 * A message that is wrong is refused in the way the protocol has for it: an acknowledgement that is
 * not 0 if the front-end asked for one, an empty reply to GET_CONFIG. Where it has none, the
 * connection is closed. Either way a log line names message, state and reason.
 */
import { closeAll, type Fd, type Logger, type Reactor, SystemError } from '../sys/index.ts';
import type { BackendDevice } from './backend-device.ts';
import { BackendHandlers } from './backend-handlers.ts';
import { Channel, type Frame, FrameFlag } from './channel.ts';
import { ProtocolError } from './errors.ts';
import {
  acknowledgement,
  declarationOf,
  type FrontendMessageName,
  frontendMessageName,
  OTHER_DEVICES_MESSAGES,
} from './messages.ts';
import { hasProtocolFeature } from './protocol-features.ts';
import { nextPhase, type Phase } from './session-state.ts';
import { FieldError } from './struct.ts';

const ACKNOWLEDGED = 0n;
const REFUSED = 1n;

export interface BackendSessionOptions {
  readonly reactor: Reactor;
  /** Connected; the session takes it over. */
  readonly socket: Fd;
  readonly device: BackendDevice;
  readonly logger: Logger;
}

/** See the module's comment. Only one session at a time may serve a device. */
export class BackendSession {
  /** Resolves when the connection has ended and the device is free again. */
  readonly ended: Promise<void>;
  readonly #channel: Channel;
  readonly #handlers: BackendHandlers;
  readonly #logger: Logger;
  #phase: Phase = 'connected';
  #current: Promise<void> = Promise.resolve();
  #resolveEnded: (value: Promise<void>) => void = () => {};
  #isEnding = false;

  constructor(options: BackendSessionOptions) {
    this.#logger = options.logger;
    this.#handlers = new BackendHandlers(options.device, options.reactor, options.logger);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#channel = new Channel(options.reactor, options.socket, {
      onFrame: (frame) => {
        if (this.#isEnding) return this.#ignore(frame);
        this.#current = this.#onFrame(frame);
        return this.#current;
      },
      onClosed: (reason) => {
        if (reason !== undefined) {
          this.#logger.warn(`connection lost (${this.#state}): ${reason.message}`);
        }
        this.#end();
      },
    });
  }

  /** Tell the front-end that the configuration space has changed. */
  notifyConfigChange(): void {
    this.#handlers.notifyConfigChange();
  }

  /** Hang up, after finishing the requests under way. */
  close(): Promise<void> {
    this.#end();
    return this.ended;
  }

  #end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#resolveEnded(this.#finish());
  }

  /**
   * A front-end that is hung up on looks at the used rings to know where the next back-end has to
   * go on: by then they must not change any more.
   */
  async #finish(): Promise<void> {
    try {
      await this.#current;
      await this.#handlers.close();
    } finally {
      this.#channel.close();
    }
  }

  /** Nothing more is done for the front-end, and nothing more is read from it. */
  #ignore(frame: Frame): Promise<void> {
    closeAll(frame.fds);
    return this.ended;
  }

  async #onFrame(frame: Frame): Promise<void> {
    const fds = [...frame.fds];
    const name = frontendMessageName(frame.id);
    try {
      if (name === undefined) throw unknownMessage(frame.id);
      await this.#dispatch(name, frame, fds);
    } catch (error) {
      this.#refuse(frame, name, error);
    } finally {
      closeAll(fds);
    }
  }

  async #dispatch(name: FrontendMessageName, frame: Frame, fds: Fd[]): Promise<void> {
    const declaration = declarationOf(name);
    const phase = nextPhase(this.#phase, name);
    this.#checkNegotiated(name);
    const request = decodeRequest(name, frame);
    this.#logger.debug(`<- ${name} ${declaration.request.format(request)}`);
    const handler = this.#handlers.handler(name);
    if (handler === undefined) {
      throw new ProtocolError('UNKNOWN_MESSAGE', 'is not supported');
    }
    const replyFds: Fd[] = [];
    const reply = await handler(request, fds, replyFds);
    this.#phase = phase;
    if (declaration.reply !== undefined) {
      const text = declaration.reply.format(reply);
      this.#logger.debug(`-> ${name} ${text}`);
      this.#reply(frame.id, declaration.reply.encode(reply), replyFds);
      closeAll(replyFds);
    } else if (this.#wantsAck(frame)) {
      this.#acknowledge(frame.id, ACKNOWLEDGED);
    }
  }

  #checkNegotiated(name: FrontendMessageName): void {
    const { needs } = declarationOf(name);
    if (needs === undefined) return;
    const isThere =
      needs === 'PROTOCOL_FEATURES'
        ? this.#handlers.hasProtocolFeatures
        : hasProtocolFeature(this.#handlers.protocolFeatures, needs);
    if (!isThere) throw new ProtocolError('NOT_NEGOTIATED', `needs ${needs}`);
  }

  #wantsAck(frame: Frame): boolean {
    const isAsked = (frame.flags & FrameFlag.NEED_REPLY) !== 0;
    return isAsked && hasProtocolFeature(this.#handlers.protocolFeatures, 'REPLY_ACK');
  }

  #reply(id: number, payload: Uint8Array, fds: readonly Fd[] = []): void {
    this.#channel.send(id, FrameFlag.REPLY, payload, fds);
  }

  #acknowledge(id: number, value: bigint): void {
    this.#reply(id, acknowledgement.encode({ value }));
  }

  /** Phase and rings, for log lines. */
  get #state(): string {
    return `${this.#phase}, ${this.#handlers.ringStates}`;
  }

  #refuse(frame: Frame, name: FrontendMessageName | undefined, error: unknown): void {
    // A SystemError: there is no memory, or no descriptor, for what the message asks for.
    const isWrong = error instanceof ProtocolError || error instanceof FieldError;
    const isExpected = isWrong || error instanceof SystemError;
    const what = name ?? `message ${frame.id}`;
    const text = isExpected ? error.message : ((error as Error).stack ?? String(error));
    const canNack =
      isWrong &&
      !(error instanceof ProtocolError && error.isFatal) &&
      (name === 'GET_CONFIG' || (!hasReply(name) && this.#wantsAck(frame)));
    const verdict = canNack ? 'refused' : 'connection closed';
    this.#logger[isExpected ? 'warn' : 'error'](`${what} (${this.#state}): ${text}: ${verdict}`);
    if (!canNack) {
      this.#end();
    } else if (name === 'GET_CONFIG') {
      this.#reply(frame.id, new Uint8Array(0));
    } else {
      this.#acknowledge(frame.id, REFUSED);
    }
  }
}

function hasReply(name: FrontendMessageName | undefined): boolean {
  return name !== undefined && declarationOf(name).reply !== undefined;
}

function unknownMessage(id: number): ProtocolError {
  const otherName = OTHER_DEVICES_MESSAGES.get(id);
  const text = otherName === undefined ? 'is unknown' : `(${otherName}) is for other devices`;
  return new ProtocolError('UNKNOWN_MESSAGE', text);
}

/** Check size, descriptors and flags, and decode. Throws a `ProtocolError` or `FieldError`. */
function decodeRequest(name: FrontendMessageName, frame: Frame): unknown {
  const { request, fds } = declarationOf(name);
  if ((frame.flags & FrameFlag.REPLY) !== 0) {
    throw new ProtocolError('BAD_PAYLOAD', 'is marked as a reply');
  }
  if (!request.accepts(frame.payload.length)) {
    const text = `carries ${frame.payload.length} bytes, not ${request.expectedBytes}`;
    throw new ProtocolError('BAD_PAYLOAD', text);
  }
  if (frame.fds.length < fds.min || frame.fds.length > fds.max) {
    const expected = fds.min === fds.max ? `${fds.min}` : `${fds.min} to ${fds.max}`;
    const text = `comes with ${frame.fds.length} descriptors, not ${expected}`;
    throw new ProtocolError('BAD_DESCRIPTORS', text);
  }
  return request.decode(frame.payload);
}
