/**
 * The vhost-user-blk export: a disk behind a unix socket, served to one client after another.
 */
import type { Disk } from '../../storage/index.ts';
import {
  AttachedHome,
  type EngineChoice,
  type Fd,
  type Logger,
  prefixedLogger,
  RationedLogger,
  type Reactor,
  SystemError,
  silentLogger,
  takeAll,
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
import { createControlReactor } from '../control-reactor.ts';
import { ExportError } from '../errors.ts';
import type { Arrival, ServerSocket } from '../listening-socket.ts';
import { BlockDevice } from './block-device.ts';
import { checkOptions } from './check-options.ts';
import { onFlushesFailed } from './flush-alarm.ts';
import type { QueueHost } from './queue-host.ts';
import { closeHosts, startHosts } from './start-hosts.ts';

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
  /** Serve nobody before `admit` is called. Default: false. */
  readonly isHeld?: boolean;
  readonly logger?: Logger;
  /** For what is said while the server starts; default: `logger`. */
  readonly startLogger?: Logger;
  /**
   * A Landlock ruleset that the queue threads restrict themselves by. The calling thread, and with
   * `threads` 0 that is all of them, is the caller's to restrict.
   */
  readonly landlockRuleset?: Fd | undefined;
}

/** How long to wait when a client cannot be accepted (out of descriptors, say). */
const ACCEPT_RETRY_MS = 100;

/** How what has been started is ended, the last first. */
type Undo = (() => void | Promise<void>)[];

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
  /** To what the disk says: its owner may have it open for longer. */
  readonly stopListening: () => void;
}

/** See the module's comment. */
export class VhostUserBlkServer {
  /**
   * Resolves when there is nothing more to serve: after `close`, or when the one connection that
   * was handed over as a descriptor has ended. Rejects when a worker has ended by itself (code
   * `WORKER_ENDED`, or what it has died of), or the end is not as it should be. The log has said so,
   * and the server closes itself: its client is hung up on, and its socket is free for the next one.
   */
  readonly ended: Promise<void>;
  readonly #parts: Parts;
  #watch: Watch | undefined;
  #session: BackendSession | undefined;
  #sessionCount = 0;
  #closing: Promise<void> | undefined;
  #failure: Error | undefined;
  #resolveEnded: () => void = () => {};
  #rejectEnded: (error: Error) => void = () => {};

  /**
   * Start to serve. Resolves when all threads run and clients are accepted, unless held; rejects
   * with an `ExportError`, or with what a thread has died of: nothing is left running then, and the
   * socket is the caller's still.
   */
  static async start(options: VhostUserBlkOptions): Promise<VhostUserBlkServer> {
    checkOptions(options);
    const undo: Undo = [];
    try {
      return await VhostUserBlkServer.#start(options, undo);
    } catch (error) {
      // What does not end well has nothing to say about why it did not begin.
      await takeAll(undo.reverse()).catch(() => {});
      throw error;
    }
  }

  static async #start(options: VhostUserBlkOptions, undo: Undo): Promise<VhostUserBlkServer> {
    const settings = {
      ...{ ...VHOST_USER_BLK_DEFAULTS, logger: silentLogger },
      ...withoutUndefined(options),
    };
    const { disk, socket, numQueues, logger, engine, startLogger = logger } = settings;
    const { serial, maxPollUs } = settings;
    const state = new DeviceState();
    const counters = createCounters(numQueues);
    const { reactor, because } = createControlReactor(engine);
    startLogger.debug(`control thread uses ${reactor.engine}: ${because}`);
    undo.push(() => reactor[Symbol.dispose]());
    const home = new AttachedHome(reactor, disk.needsEventLoop === undefined ? 0 : maxPollUs);
    undo.push(() => home.close());
    // Waited for below, and not to be uncaught if it fails before that.
    home.ready.catch(() => {});
    let fail = (error: Error): void => void failures.push(error);
    const failures: Error[] = [];
    const hosts = await startHosts({
      ...{ disk, reactor, state, counters, serial, maxPollUs, engine },
      threads: Math.min(settings.threads, numQueues),
      landlockRuleset: options.landlockRuleset?.number,
      logger: startLogger,
      onFailure: (error) => fail(error),
    });
    undo.push(() => closeHosts(hosts));
    // Who confines the process after this must not take away what a thread still has to load.
    await home.ready;
    const device = new BlockDevice({
      disk: disk.info,
      numQueues,
      maxQueueSize: settings.queueSize,
      state,
      hosts,
      claim: disk.claim,
      logger,
    });
    let look = (): void => {};
    const forgetResizes = disk.onResize?.(() => look());
    const forgetFlushes = onFlushesFailed(disk, (text) => logger.error(text));
    const stopListening = (): void => {
      forgetResizes?.();
      forgetFlushes();
    };
    undo.push(stopListening);
    const server = new VhostUserBlkServer({
      ...{ reactor, home, hosts, device, disk, socket, counters, logger, stopListening },
    });
    look = () => void server.updateCapacity();
    // It may have another size than when it was opened.
    await server.lookAgain();
    if (failures.length > 0) throw failures[0];
    fail = (error) => server.#fail(error);
    if (!settings.isHeld) server.admit();
    return server;
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.ended = new Promise((resolve, reject) => {
      this.#resolveEnded = resolve;
      this.#rejectEnded = reject;
    });
    // The log has it, whether or not somebody waits for it.
    this.ended.catch(() => {});
  }

  /** Serve clients from now on: for servers that were held. */
  admit(): void {
    const { socket, reactor } = this.#parts;
    if (this.#watch !== undefined || this.#closing !== undefined) return;
    if (socket.kind === 'stream') this.#accept();
    else this.#watch = reactor.watch(socket.fd.number, { onReadable: () => this.#accept() });
  }

  /** Whether there is a client, whose requests may be under way. */
  get isServing(): boolean {
    return this.#session !== undefined;
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

  /** As `updateCapacity`, of disks that have to be asked, too: those of a worker. */
  async lookAgain(): Promise<number> {
    await this.#parts.disk.lookAgain?.();
    return this.updateCapacity();
  }

  /**
   * Finish the requests under way, hang up, and let everything go but the disk. Rejects if that does
   * not go well; what had happened before is `ended`'s to say.
   */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #shutDown(): Promise<void> {
    const { home, hosts, reactor, socket, stopListening } = this.#parts;
    const earlierFailure = this.#failure;
    stopListening();
    this.#watch?.close();
    try {
      await this.#session?.close();
    } catch (error) {
      this.#fail(error);
    }
    await closeHosts(hosts).catch((error) => this.#fail(error));
    home.close();
    reactor[Symbol.dispose]();
    socket.close();
    this.#resolveEnded();
    if (this.#failure !== earlierFailure) throw this.#failure;
  }

  /** For when nobody waits: what does not go well, `ended` and the log say. */
  #closeByItself(): void {
    this.close().catch(() => {});
  }

  /** There is nobody to serve by any more, or not all that was under way has been done. */
  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    const { message, stack = message } = this.#failure;
    const text = this.#failure instanceof ExportError ? message : stack;
    this.#parts.logger.error(`the server ends: ${text}`);
    this.#rejectEnded(this.#failure);
    this.#closeByItself();
  }

  #accept(): void {
    if (this.#session !== undefined || this.#closing !== undefined) return;
    const { socket, reactor, logger } = this.#parts;
    let arrival: Arrival | undefined | 'over';
    try {
      arrival = socket.next();
      if (arrival === 'over') this.#closeByItself();
      else if (arrival !== undefined) this.#serve(arrival);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (typeof arrival === 'object') arrival.connection[Symbol.dispose]();
      logger.error(`cannot accept a client: ${error.message}`);
      reactor.after(ACCEPT_RETRY_MS, () => this.#accept());
    }
  }

  #serve({ connection, number }: Arrival): void {
    const { reactor, device, logger, socket } = this.#parts;
    this.#sessionCount += 1;
    const name = `client ${number ?? this.#sessionCount}`;
    const before = this.counters;
    logger.info(`${name} connected`);
    const rationed = new RationedLogger(prefixedLogger(logger, name));
    const session = new BackendSession({ reactor, socket: connection, device, logger: rationed });
    this.#session = session;
    void session.ended
      .catch((error) => this.#fail(error))
      .then(() => {
        rationed.sayOmitted();
        logger.info(`${name} disconnected: ${summary(before, this.counters)}`);
        device.forgetClient();
        this.#session = undefined;
        if (socket.kind === 'listening') this.#accept();
        else this.#closeByItself();
      });
  }
}

/** What is given as nothing is not given. */
function withoutUndefined<Given extends object>(given: Given): Given {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Given;
}

/** What a client did, for the log. */
function summary(before: CounterValues, after: CounterValues): string {
  const did = COUNTER_NAMES.map((name) => ({ name, count: after[name] - before[name] }))
    .filter(({ count }) => count > 0)
    .map(({ name, count }) => `${name} ${count}`);
  return did.join(', ') || 'it asked for nothing';
}
