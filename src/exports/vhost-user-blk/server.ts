/**
 * The vhost-user-blk export: a disk behind a unix socket, served to one client after another.
 */
import type { Disk } from '../../storage/index.ts';
import {
  AttachedHome,
  acceptUnix,
  type CreatedReactor,
  createReactor,
  type EngineChoice,
  Fd,
  type Logger,
  prefixedLogger,
  type Reactor,
  SystemError,
  silentLogger,
  type Watch,
} from '../../sys/index.ts';
import { BackendSession } from '../../vhost-user/index.ts';
import {
  COUNTER_NAMES,
  type CounterValues,
  createCounters,
  DeviceState,
  readCounters,
} from '../../virtio-blk/index.ts';
import { ExportError } from '../errors.ts';
import type { ServerSocket } from '../listening-socket.ts';
import { BlockDevice } from './block-device.ts';
import { LocalQueueHost } from './local-queue-host.ts';
import type { QueueHost } from './queue-host.ts';
import { RemoteQueueHost } from './remote-queue-host.ts';

/** Defaults of `VhostUserBlkOptions`. */
export const VHOST_USER_BLK_DEFAULTS = Object.freeze({
  numQueues: 1,
  queueSize: 1024,
  threads: 1,
  serial: 'vhostkit',
  maxPollUs: 100,
  engine: 'auto' as EngineChoice,
});

export interface VhostUserBlkOptions {
  /** Open; stays the caller's, who closes it after the server. */
  readonly disk: Disk;
  /** The server takes it over. */
  readonly socket: ServerSocket;
  /** Queues offered, 1 to 256; the front-end may use fewer. */
  readonly numQueues?: number;
  /** Largest ring accepted, a power of two up to 32768. */
  readonly queueSize?: number;
  /**
   * Threads that serve the queues, which are spread over them evenly. 0: the calling thread does,
   * between whatever else its event loop has to do.
   */
  readonly threads?: number;
  /** Device ID string: at most 20 bytes of UTF-8. */
  readonly serial?: string;
  /** How long an idle thread looks for work before it sleeps, in microseconds; 0: not at all. */
  readonly maxPollUs?: number;
  readonly engine?: EngineChoice;
  readonly logger?: Logger;
  /**
   * A Landlock ruleset that the queue threads restrict themselves by. The calling thread, and with
   * `threads` 0 that is all of them, is the caller's to restrict.
   */
  readonly landlockRuleset?: Fd | undefined;
}

/** How long to wait when a client cannot be accepted (out of descriptors, say). */
const ACCEPT_RETRY_MS = 100;

/** What a server consists of. */
interface Parts {
  readonly reactor: Reactor;
  readonly home: AttachedHome;
  readonly hosts: readonly QueueHost[];
  readonly device: BlockDevice;
  readonly disk: Disk;
  readonly socket: ServerSocket;
  readonly counters: SharedArrayBuffer;
  readonly logger: Logger;
}

/** See the module's comment. */
export class VhostUserBlkServer {
  /**
   * Resolves when there is nothing more to serve: after `close`, or when the one connection that
   * was handed over as a descriptor has ended. Rejects when a queue worker has died of an internal
   * error: the server is of no use then, and cannot be closed in an orderly way.
   */
  readonly ended: Promise<void>;
  readonly #parts: Parts;
  #watch: Watch | undefined;
  #session: BackendSession | undefined;
  #sessionCount = 0;
  #closing: Promise<void> | undefined;
  #resolveEnded: () => void = () => {};
  #rejectEnded: (error: Error) => void = () => {};

  /**
   * Start to serve. Resolves when clients are accepted, and all threads run; rejects with an `ExportError`.
   */
  static async start(options: VhostUserBlkOptions): Promise<VhostUserBlkServer> {
    const settings = { ...VHOST_USER_BLK_DEFAULTS, logger: silentLogger, ...options };
    const { disk, socket, numQueues, logger, engine } = settings;
    const state = new DeviceState();
    const counters = createCounters(numQueues);
    const { reactor, because } = createControlReactor(engine);
    logger.debug(`control thread uses ${reactor.engine}: ${because}`);
    const home = new AttachedHome(reactor);
    const { serial, maxPollUs } = settings;
    const threads = Math.min(settings.threads, numQueues);
    let server: VhostUserBlkServer | undefined;
    const onFailure = (error: Error): void => {
      if (server !== undefined) server.#rejectEnded(error);
    };
    const landlockRuleset = options.landlockRuleset?.number;
    const thread = { serial, maxPollUs, engine, landlockRuleset };
    const remote = { disk: disk.share(), state: state.buffer, counters, ...thread };
    const hosts: readonly QueueHost[] =
      threads === 0
        ? [new LocalQueueHost({ reactor, disk, state, counters, serial })]
        : await Promise.all(
            Array.from({ length: threads }, () =>
              RemoteQueueHost.start({ ...remote, logger, onFailure }),
            ),
          );
    // Who confines the process after this must not take away what a thread still has to load.
    await home.ready;
    const device = new BlockDevice({
      disk: disk.info,
      numQueues,
      maxQueueSize: settings.queueSize,
      state,
      hosts,
      claim: disk.claim,
    });
    server = new VhostUserBlkServer({
      ...{ reactor, home, hosts, device, disk, socket, counters, logger },
    });
    return server;
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.ended = new Promise((resolve, reject) => {
      this.#resolveEnded = resolve;
      this.#rejectEnded = reject;
    });
    const { socket, reactor } = parts;
    if (socket.kind === 'stream') {
      this.#serve(new Fd(socket.fd.release(), 'connection'));
    } else {
      this.#watch = reactor.watch(socket.fd.number, { onReadable: () => this.#accept() });
    }
  }

  /** What has been done so far, over all clients and queues. */
  get counters(): CounterValues {
    return readCounters(this.#parts.counters);
  }

  /**
   * Have the disk's size looked at again: the client, if there is one, is told of another. Requests
   * beyond the end of a disk that has shrunk get IOERR from then on.
   *
   * @returns the size in bytes.
   */
  updateCapacity(): number {
    const { device, disk } = this.#parts;
    const before = device.capacityBytes;
    const now = disk.currentSizeBytes();
    if (now === before) return now;
    device.capacityBytes = now;
    this.#session?.notifyConfigChange();
    return now;
  }

  /** Finish the requests under way, hang up, and let everything go but the disk. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #shutDown(): Promise<void> {
    const { home, hosts, reactor, socket } = this.#parts;
    this.#watch?.close();
    await this.#session?.close();
    for (const host of hosts) await host.close();
    home.close();
    reactor[Symbol.dispose]();
    socket.close();
    this.#resolveEnded();
  }

  #accept(): void {
    if (this.#session !== undefined || this.#closing !== undefined) return;
    const { socket, reactor, logger } = this.#parts;
    let connection: Fd | undefined;
    try {
      connection = acceptUnix(socket.fd.number);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      logger.error(`cannot accept a client: ${error.message}`);
      reactor.after(ACCEPT_RETRY_MS, () => this.#accept());
      return;
    }
    if (connection !== undefined) this.#serve(connection);
  }

  #serve(connection: Fd): void {
    const { reactor, device, logger, socket } = this.#parts;
    this.#sessionCount += 1;
    const name = `client ${this.#sessionCount}`;
    const before = this.counters;
    logger.info(`${name} connected`);
    const session = new BackendSession({
      reactor,
      socket: connection,
      device,
      logger: prefixedLogger(logger, name),
    });
    this.#session = session;
    void session.ended.then(() => {
      logger.info(`${name} disconnected: ${summary(before, this.counters)}`);
      device.reset();
      this.#session = undefined;
      if (socket.kind === 'stream') void this.close();
      else this.#accept();
    });
  }
}

function createControlReactor(engine: EngineChoice): CreatedReactor {
  try {
    return createReactor('attached', engine);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const text = `engine ${engine} is not to be had here: ${error.message}`;
    throw new ExportError('ENGINE_REFUSED', text, { cause: error });
  }
}

/** What a client did, for the log. */
function summary(before: CounterValues, after: CounterValues): string {
  const did = COUNTER_NAMES.map((name) => ({ name, count: after[name] - before[name] }))
    .filter(({ count }) => count > 0)
    .map(({ name, count }) => `${name} ${count}`);
  return did.join(', ') || 'it asked for nothing';
}
