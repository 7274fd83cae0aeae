/**
 * The way to a back-end as long as the device is in use: a connection, and after its loss others,
 * until the device is given up. When the back-end goes away and the device is to connect again,
 * what was under way is done: by a back-end that finds it written down (INFLIGHT_SHMFD), once and
 * in its order; of others it is asked once more. Else it fails with ECONNRESET.
 */
import {
  AttachedHome,
  Errno,
  IO_ERROR,
  isHungUp,
  type Reactor,
  silentLogger,
} from '../../../sys/index.ts';
import { type Frontend, type InflightMemory, ProtocolError } from '../../../vhost-user/index.ts';
import { createDeviceReactor } from '../../device-reactor.ts';
import { BlkioError } from '../../errors.ts';
import type { MemoryRegion } from '../../memory-region.ts';
import { VhostUserConnection } from './connection.ts';
import { asBlkioError } from './connection-errors.ts';
import type { QueueSet } from './queue-set.ts';
import { Reconnection } from './reconnection.ts';
import { describeRingFault } from './ring-fault.ts';
import type { VhostUserSettings } from './vhost-user-settings.ts';

const LOST = -Errno.ECONNRESET;

/** Whose way it is. */
export interface BackendLinkUser {
  /** What the back-end is to reach: those of queues first. */
  readonly regions: readonly MemoryRegion[];
  onConfigChange(): void;
  onDisconnect(reason: BlkioError): void;
  onReconnect(attempts: number): void;
}

/** See the module's comment. */
export class BackendLink {
  readonly reactor: Reactor;
  readonly #home: AttachedHome;
  readonly #settings: VhostUserSettings;
  readonly #user: BackendLinkUser;
  #connection: VhostUserConnection | undefined;
  /** Present once the device is started. */
  #queues: QueueSet | undefined;
  /** Ends the connection that was opened last, in whatever state. */
  #attempt: AbortController | undefined;
  /** Where the back-end writes down what is under way, if it does. */
  #inflight: InflightMemory | undefined;
  /** The back-end goes on with what the last one had under way. */
  #goesOn = false;
  /** Present while there is no back-end. */
  #reconnection: Reconnection | undefined;
  #isLost = false;
  #failure = 0;
  #isClosed = false;

  constructor(settings: VhostUserSettings, user: BackendLinkUser) {
    this.#settings = settings;
    this.#user = user;
    this.reactor = createDeviceReactor('attached');
    this.#home = new AttachedHome(this.reactor);
  }

  /** The first time. Rejects with a `BlkioError`: close it then. */
  async connect(): Promise<void> {
    try {
      this.#adopt(await this.#open());
    } catch (error) {
      throw this.#asBlkioError(error);
    }
  }

  #open(features?: bigint): Promise<VhostUserConnection> {
    const { path, timeoutMs, packed } = this.#settings;
    this.#attempt = new AbortController();
    return VhostUserConnection.open({
      reactor: this.reactor,
      socketPath: path,
      timeoutMs,
      packed,
      logger: silentLogger,
      signal: this.#attempt.signal,
      ...(features === undefined ? {} : { features }),
    });
  }

  #adopt(connection: VhostUserConnection): void {
    connection.use({
      onConfigChange: () => this.#user.onConfigChange(),
      onDisconnect: (reason) => this.#lose(reason),
    });
    this.#connection = connection;
    this.#isLost = false;
  }

  #asBlkioError(error: unknown): BlkioError {
    return asBlkioError(error, this.#settings.path);
  }

  /** The connection, or while there is none the last one, for what it was told. */
  get connection(): VhostUserConnection {
    if (this.#connection !== undefined) return this.#connection;
    throw new BlkioError('ENODEV', 'the device is not connected');
  }

  /** There is no back-end, for now or for ever. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** What all requests fail with once the device is given up; 0: it is not. */
  get failure(): number {
    return this.#failure;
  }

  /** Start rings that nobody has used. Rejects with a `BlkioError`: close it then. */
  async start(queues: QueueSet): Promise<void> {
    try {
      await this.connection.shareExactly(this.#user.regions);
      this.#inflight = await this.#track(this.connection.frontend, queues);
      await queues.startAll(this.connection.frontend);
      // Without acknowledgements nothing else tells.
      const text = `${this.#settings.path}: the back-end hung up`;
      if (this.#isLost) throw new BlkioError('ECONNRESET', text);
    } catch (error) {
      throw this.#asBlkioError(error);
    }
    this.#queues = queues;
  }

  /** Memory in which a back-end writes down what is under way, if it does. */
  async #track(frontend: Frontend, queues: QueueSet): Promise<InflightMemory | undefined> {
    if (!frontend.tracksInflight) return undefined;
    const memory = await frontend.getInflight(queues.count, this.#settings.queueSize);
    try {
      await frontend.setInflight(memory);
      return memory;
    } catch (error) {
      memory.fd.close();
      throw error;
    }
  }

  /** Share a region that the user has added, or end that. */
  async mapRegion(region: MemoryRegion): Promise<void> {
    await this.#whileConnected((connection) => connection.share([region]));
  }

  async unmapRegion(region: MemoryRegion): Promise<void> {
    await this.#whileConnected((connection) => connection.unshare(region));
  }

  /** A back-end that is lost needs nothing: the next one gets what is mapped then. */
  async #whileConnected(body: (connection: VhostUserConnection) => Promise<void>): Promise<void> {
    const { connection } = this;
    if (this.#isLost) return;
    try {
      await body(connection);
    } catch (error) {
      const isGone = connection.frontend.session.end !== undefined;
      if (!isGone) throw this.#asBlkioError(error);
    }
  }

  /** For queues whose thread does not run the event loop: look whether the back-end has gone. */
  checkHangUp(): void {
    const connection = this.#connection;
    if (this.#isLost || connection === undefined) return;
    if (!isHungUp(connection.frontend.session.socketNumber)) return;
    this.#lose(new ProtocolError('DISCONNECTED', 'the back-end hung up'));
  }

  #lose(reason: ProtocolError): void {
    if (!this.#cutOff(reason)) return;
    const { reconnectMs, reconnectLimit } = this.#settings;
    if (reconnectMs === 0) {
      this.#giveUp(LOST);
      return;
    }
    this.#reconnection = new Reconnection({
      firstDelayMs: reconnectMs,
      limit: reconnectLimit,
      attempt: () => this.#reconnect(),
      onGiveUp: () => this.#giveUp(LOST),
    });
  }

  /** A ring is not what it should be: to ask the same of the same back-end again is no good. */
  breakDown(index: number, fault: number): void {
    const what = `queue ${index}: ${describeRingFault(fault)}`;
    if (this.#cutOff(new ProtocolError('BAD_RING', what))) this.#giveUp(IO_ERROR);
  }

  /** End the connection. False if there is nothing more to do about it. */
  #cutOff(reason: ProtocolError): boolean {
    if (this.#isLost || this.#isClosed) return false;
    this.#isLost = true;
    // Before the socket is closed, which they watch.
    for (const user of this.#queues?.users ?? []) user.lose();
    this.#connection?.close();
    // `start` will tell.
    if (this.#queues === undefined) return false;
    this.#user.onDisconnect(this.#asBlkioError(reason));
    return true;
  }

  #giveUp(failure: number): void {
    this.#failure = failure;
    for (const user of this.#queues?.users ?? []) user.fail(failure);
  }

  async #reconnect(): Promise<void> {
    const before = this.connection;
    const queues = this.#queues as QueueSet;
    const connection = await this.#open(before.frontend.features);
    const { frontend } = connection;
    let started: readonly number[];
    let inflight: InflightMemory | undefined;
    try {
      if (this.#isClosed) throw new BlkioError('ENOTCONN', 'the device was closed');
      this.#checkSame(before, connection, queues.count);
      await connection.shareExactly(this.#user.regions);
      this.#goesOn = await this.#handOver(frontend);
      await connection.keepWritesStable(before);
      if (!this.#goesOn) inflight = await this.#track(frontend, queues);
      started = await queues.restart(frontend, this.#goesOn);
      // Regions may have come and gone meanwhile.
      while (!connection.hasExactly(this.#user.regions)) {
        await connection.shareExactly(this.#user.regions);
      }
      this.#adopt(connection);
    } catch (error) {
      inflight?.fd.close();
      connection.close();
      throw error;
    }
    this.#inflight ??= inflight;
    const attempts = this.#reconnection?.attempts ?? 0;
    this.#reconnection = undefined;
    for (const index of started) queues.resume(index, this.#goesOn);
    // Those that became quiet while others were started.
    for (const index of queues.others(started)) void this.restartQueue(index);
    this.#user.onReconnect(attempts);
    const hadBytes = before.config.capacityBytes;
    if (hadBytes !== connection.config.capacityBytes) this.#user.onConfigChange();
  }

  /** Whether another back-end finds written down what was under way with the last one. */
  async #handOver(frontend: Frontend): Promise<boolean> {
    const memory = this.#inflight;
    if (memory === undefined) return false;
    if (frontend.tracksInflight) {
      await frontend.setInflight(memory);
      return true;
    }
    // Rings start empty with this one: what is written down is of no use to any other.
    memory.fd.close();
    this.#inflight = undefined;
    return false;
  }

  /** What requests and rings were made for must still be there. */
  #checkSame(before: VhostUserConnection, now: VhostUserConnection, queueCount: number): void {
    const difference = now.differenceFrom(before, queueCount);
    if (difference === undefined) return;
    const text = `${this.#settings.path}: not the device that it was: ${difference}`;
    throw new BlkioError('EPROTO', text);
  }

  /** A queue of another thread has let go of its ring: the back-end may be there already. */
  async restartQueue(index: number): Promise<void> {
    const connection = this.#connection;
    const queues = this.#queues;
    if (this.#isLost || connection === undefined || queues === undefined) return;
    try {
      if (!(await queues.restartOne(connection.frontend, index, this.#goesOn))) return;
    } catch {
      // The connection has ended: its user has been told.
      return;
    }
    if (connection === this.#connection && !this.#isLost) queues.resume(index, this.#goesOn);
  }

  /** Channels are closed. */
  close(): void {
    this.#isClosed = true;
    this.#attempt?.abort();
    this.#reconnection?.stop();
    this.#connection?.close();
    this.#inflight?.fd.close();
    this.#home.close();
    this.reactor[Symbol.dispose]();
  }
}
