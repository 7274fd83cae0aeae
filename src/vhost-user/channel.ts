/**
 * Frames on a unix socket: a header of three u32 (request, flags, size), a payload, and descriptors
 * that come with the header's first byte (vhost-user.rst, "Message header").
 *
 * Frames are delivered one after the other: the next when the handler's promise for the last has
 * settled. Used on a reactor attached to Node's event loop.
 */
import {
  closeAll,
  type Fd,
  isConnectedTo,
  MAX_MESSAGE_FDS,
  type Reactor,
  receiveMessage,
  SystemError,
  sendMessage,
  type Watch,
} from '../sys/index.ts';
import { ProtocolError } from './errors.ts';

/** Bytes of a frame's header. */
export const HEADER_BYTES = 12;
/** Most bytes of a payload; the largest that is defined has 2060 (as in rust-vmm). */
export const MAX_PAYLOAD_BYTES = 4096;
/** Frames handled in one go before the event loop gets its chance. */
const MAX_FRAMES_PER_ROUND = 16;

/** Header flags. */
export const FrameFlag = {
  VERSION_MASK: 3,
  VERSION: 1,
  REPLY: 1 << 2,
  NEED_REPLY: 1 << 3,
} as const;

/** One message as it came: its descriptors belong to whoever handles it. */
export interface Frame {
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly fds: readonly Fd[];
}

export interface ChannelHandler {
  /** Nothing that comes here is of use with descriptors: they are closed as they arrive. */
  readonly wantsNoFds?: boolean;
  /** Must not reject: what is wrong with a frame is the handler's business. */
  onFrame(frame: Frame): Promise<void>;
  /**
   * The connection has ended, once. `reason` unless the peer simply hung up between frames. The
   * socket's number is valid until this returns: whoever watches it must stop.
   */
  onClosed(reason: ProtocolError | undefined): void;
}

/** See the module's comment. */
export class Channel {
  readonly #socket: Fd;
  readonly #handler: ChannelHandler;
  readonly #watch: Watch;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerDone = 0;
  #payload = new Uint8Array(0);
  #payloadDone = 0;
  #fds: Fd[] = [];
  #isHandling = false;
  #isClosed = false;

  /** Takes the socket over. */
  constructor(reactor: Reactor, socket: Fd, handler: ChannelHandler) {
    this.#socket = socket;
    this.#handler = handler;
    this.#watch = reactor.watch(socket.number, { onReadable: () => this.#receive() });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The socket, for those who watch it. Stays the channel's. */
  get socketNumber(): number {
    return this.#socket.number;
  }

  /**
   * Send a frame. The descriptors stay the caller's.
   *
   * A peer that lets so many replies lie that the socket is full gets no more: the channel closes.
   */
  send(id: number, flags: number, payload: Uint8Array, fds: readonly Fd[] = []): void {
    if (this.#isClosed) return;
    const frame = new Uint8Array(HEADER_BYTES + payload.length);
    const view = new DataView(frame.buffer);
    view.setUint32(0, id, true);
    view.setUint32(4, flags | FrameFlag.VERSION, true);
    view.setUint32(8, payload.length, true);
    frame.set(payload, HEADER_BYTES);
    try {
      if (sendMessage(this.#socket.number, frame, fds) === frame.length) return;
      this.#fail(new ProtocolError('DISCONNECTED', 'the peer does not read what it is sent'));
    } catch (error) {
      this.#fail(connectionLost(error));
    }
  }

  /** Hang up. `onClosed` is not called. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#release();
  }

  #release(): void {
    this.#watch.close();
    this.#socket.close();
    closeAll(this.#fds);
  }

  #fail(reason: ProtocolError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.#handler.onClosed(reason);
    } finally {
      this.#release();
    }
  }

  #receive(): void {
    if (this.#isHandling) return;
    let frame: Frame | undefined;
    try {
      frame = this.#readFrame();
    } catch (error) {
      this.#fail(error instanceof ProtocolError ? error : connectionLost(error));
      return;
    }
    if (frame === undefined) return;
    this.#isHandling = true;
    void this.#handle(frame);
  }

  /** Handle a frame and those behind it, for a while. */
  async #handle(first: Frame): Promise<void> {
    let frame: Frame | undefined = first;
    for (let count = 0; frame !== undefined && count < MAX_FRAMES_PER_ROUND; count++) {
      await this.#handler.onFrame(frame);
      if (this.#isClosed) return;
      try {
        frame = this.#readFrame();
      } catch (error) {
        this.#fail(error instanceof ProtocolError ? error : connectionLost(error));
        return;
      }
    }
    const pending = frame;
    if (pending === undefined) {
      this.#isHandling = false;
    } else {
      setImmediate(() => {
        if (this.#isClosed) closeAll(pending.fds);
        else void this.#handle(pending);
      });
    }
  }

  /** The next complete frame, if it is there. */
  #readFrame(): Frame | undefined {
    while (!this.#isClosed) {
      if (this.#headerDone < HEADER_BYTES) {
        const read = this.#read(this.#header.subarray(this.#headerDone));
        if (read === 0) return undefined;
        this.#headerDone += read;
        if (this.#headerDone === HEADER_BYTES) this.#startPayload();
        continue;
      }
      if (this.#payloadDone < this.#payload.length) {
        const read = this.#read(this.#payload.subarray(this.#payloadDone));
        if (read === 0) return undefined;
        this.#payloadDone += read;
        continue;
      }
      return this.#takeFrame();
    }
    return undefined;
  }

  #startPayload(): void {
    const view = new DataView(this.#header.buffer);
    const what = `message ${view.getUint32(0, true)}`;
    const flags = view.getUint32(4, true);
    const sizeBytes = view.getUint32(8, true);
    if ((flags & FrameFlag.VERSION_MASK) !== FrameFlag.VERSION) {
      const version = flags & FrameFlag.VERSION_MASK;
      throw new ProtocolError('BAD_FRAME', `${what}: frame of version ${version}`);
    }
    if (sizeBytes > MAX_PAYLOAD_BYTES) {
      throw new ProtocolError('BAD_FRAME', `${what}: frame with a payload of ${sizeBytes} bytes`);
    }
    this.#payload = new Uint8Array(sizeBytes);
    this.#payloadDone = 0;
  }

  #takeFrame(): Frame {
    const view = new DataView(this.#header.buffer);
    const frame: Frame = {
      id: view.getUint32(0, true),
      flags: view.getUint32(4, true),
      payload: this.#payload,
      fds: this.#fds,
    };
    this.#headerDone = 0;
    this.#payload = new Uint8Array(0);
    this.#payloadDone = 0;
    this.#fds = [];
    return frame;
  }

  /** Read into `target`. Returns the bytes read, 0 if there are none yet. */
  #read(target: Uint8Array): number {
    const received = receiveMessage(this.#socket.number, target);
    if (received === undefined) return 0;
    if (this.#handler.wantsNoFds) closeAll(received.fds);
    else this.#takeFds(received.fds);
    if (received.bytes === 0) {
      if (this.#headerDone > 0) {
        throw new ProtocolError('DISCONNECTED', 'the peer hung up in the middle of a message');
      }
      this.#fail(undefined);
      return 0;
    }
    return received.bytes;
  }

  #takeFds(fds: readonly Fd[]): void {
    this.#fds.push(...fds);
    if (this.#fds.length > MAX_MESSAGE_FDS) {
      throw new ProtocolError('BAD_FRAME', 'frame with too many descriptors');
    }
    // Held here, the peer's end would keep the connection open when the peer is long gone.
    if (fds.some((fd) => isConnectedTo(fd.number, this.#socket.number))) {
      throw new ProtocolError('BAD_FRAME', "frame with the connection's other end");
    }
  }
}

function connectionLost(error: unknown): ProtocolError {
  if (!(error instanceof SystemError)) throw error;
  return new ProtocolError('DISCONNECTED', error.message, { cause: error });
}
