/**
 * The `virtio-blk-vhost-user` driver: the disk of any vhost-user-blk back-end. When the back-end
 * goes away and the device is to connect again, what was under way is asked for once more, and done
 * at least once; else it fails with ECONNRESET.
 */
import {
  AttachedHome,
  createReactor,
  Errno,
  IO_ERROR,
  isHungUp,
  type Reactor,
  silentLogger,
} from '../../../sys/index.ts';
import { ProtocolError } from '../../../vhost-user/index.ts';
import { hasFeature } from '../../../virtio-blk/index.ts';
import { RingFeature } from '../../../virtqueue/index.ts';
import {
  type ConnectOptions,
  type DeviceLimits,
  type Driver,
  type DriverEvents,
  type QueueChannel,
  type QueuePlan,
  silentEvents,
} from '../../driver.ts';
import { BlkioError } from '../../errors.ts';
import { MemoryRegion } from '../../memory-region.ts';
import type { Property } from '../../property-table.ts';
import { VhostUserConnection } from './connection.ts';
import { asBlkioError } from './connection-errors.ts';
import { ENTRIES_PER_TABLE, QueueMemory, queueBytes } from './queue-memory.ts';
import { Reconnection } from './reconnection.ts';
import { defaultSettings, settingsProperties } from './vhost-user-settings.ts';
import { VirtioBlkChannel } from './virtio-blk-channel.ts';

const LOST = -Errno.ECONNRESET;
/** Descriptors of a read or write beside its data: header and status. */
const AROUND_DATA = 2;

/** See the module's comment. */
export class VirtioBlkVhostUserDriver implements Driver {
  readonly name = 'virtio-blk-vhost-user';
  readonly canAddQueues = false;
  events: DriverEvents = silentEvents;
  readonly #settings = defaultSettings();
  readonly #queues: QueueMemory[] = [];
  /** Where the queues are. */
  #queueRegion: MemoryRegion | undefined;
  readonly #channels = new Set<VirtioBlkChannel>();
  #options: ConnectOptions | undefined;
  #attached: { readonly reactor: Reactor; readonly home: AttachedHome } | undefined;
  #connection: VhostUserConnection | undefined;
  /** Ends the connection that was opened last, in whatever state. */
  #attempt: AbortController | undefined;
  /** Present while there is no back-end. */
  #reconnection: Reconnection | undefined;
  #isStarted = false;
  #isLost = false;
  /** What all requests fail with once the device is given up; 0: it is not. */
  #failure = 0;
  #isClosed = false;

  get slotsPerQueue(): number {
    return this.#settings.queueSize;
  }

  properties(): readonly Property[] {
    return settingsProperties(this.#settings);
  }

  async connect(options: ConnectOptions): Promise<void> {
    const { path } = this.#settings;
    if (path === '') throw new BlkioError('EINVAL', 'the property path is not set');
    this.#options = options;
    try {
      this.#adopt(await this.#openConnection());
    } catch (error) {
      this.#release();
      throw asBlkioError(error, path);
    }
  }

  #openConnection(features?: bigint): Promise<VhostUserConnection> {
    const { path, timeoutMs } = this.#settings;
    this.#attached ??= attach();
    this.#attempt = new AbortController();
    return VhostUserConnection.open({
      reactor: this.#attached.reactor,
      socketPath: path,
      timeoutMs,
      logger: silentLogger,
      signal: this.#attempt.signal,
      ...(features === undefined ? {} : { features }),
    });
  }

  #adopt(connection: VhostUserConnection): void {
    connection.use({
      onConfigChange: () => this.events.onConfigChange(),
      onDisconnect: (reason) => this.#lose(reason),
    });
    this.#connection = connection;
    this.#isLost = false;
  }

  get #open(): VhostUserConnection {
    if (this.#connection !== undefined) return this.#connection;
    throw new BlkioError('ENODEV', 'the device is not connected');
  }

  capacityBytes(): number {
    return this.#open.config.capacityBytes;
  }

  limits(): DeviceLimits {
    const { limits } = this.#open;
    const maxSegments = Math.min(limits.maxSegments, this.#longestChain - AROUND_DATA);
    return { ...limits, maxSegments };
  }

  /** Descriptors of a request for which there is room on an empty ring. */
  get #longestChain(): number {
    const { queueSize } = this.#settings;
    const hasTables = hasFeature(this.#open.frontend.features, RingFeature.INDIRECT_DESC);
    return hasTables ? Math.max(queueSize, ENTRIES_PER_TABLE) : queueSize;
  }

  async start(counts: { readonly queues: number; readonly pollQueues: number }): Promise<void> {
    const { queueSize, path } = this.#settings;
    if (this.#longestChain <= AROUND_DATA) {
      const text = `queue-size ${queueSize}: no request fits, as this back-end has no tables`;
      throw new BlkioError('EINVAL', text);
    }
    this.#makeQueues(counts.queues + counts.pollQueues);
    try {
      await this.#startRings(this.#open);
      // Without acknowledgements nothing else tells.
      if (this.#isLost) throw new BlkioError('ECONNRESET', `${path}: the back-end hung up`);
    } catch (error) {
      this.#release();
      throw asBlkioError(error, path);
    }
    this.#isStarted = true;
  }

  get #regions(): MemoryRegion[] {
    const queues = this.#queueRegion === undefined ? [] : [this.#queueRegion];
    return [...queues, ...(this.#options?.regions ?? [])];
  }

  #makeQueues(count: number): void {
    const size = this.#settings.queueSize;
    const bytes = queueBytes(size);
    const region = MemoryRegion.allocate(count * bytes);
    this.#queueRegion = region;
    for (let index = 0; index < count; index++) {
      const offsetBytes = index * bytes;
      this.#queues.push(new QueueMemory({ index, size, region, offsetBytes }));
    }
  }

  #dropQueues(): void {
    for (const queue of this.#queues.splice(0)) queue[Symbol.dispose]();
    this.#queueRegion?.[Symbol.dispose]();
    this.#queueRegion = undefined;
  }

  async #startRings(connection: VhostUserConnection): Promise<void> {
    await connection.shareExactly(this.#regions);
    for (const queue of this.#queues) await connection.frontend.startRing(queue.plan);
  }

  openQueue({ index, isPolled, reactor, requests, handler }: QueuePlan): QueueChannel {
    const { features, session } = this.#open.frontend;
    const { maxSegmentLen, maxSegments } = this.limits();
    const channel = new VirtioBlkChannel({
      memory: this.#queues[index],
      ...{ reactor, requests, handler, isPolled, maxSegmentLen, maxSegments },
      eventIdx: hasFeature(features, RingFeature.EVENT_IDX),
      indirect: hasFeature(features, RingFeature.INDIRECT_DESC),
      socket: this.#isLost ? undefined : session.socketNumber,
      onHangUp: () => this.#checkConnection(),
      onBroken: (reason) => this.#breakDown(`queue ${index}: ${reason}`),
      onClose: () => this.#channels.delete(channel),
    });
    this.#channels.add(channel);
    if (this.#failure !== 0) channel.fail(this.#failure);
    return channel;
  }

  async mapRegion(region: MemoryRegion): Promise<void> {
    await this.#whileConnected((connection) => connection.share([region]));
  }

  async unmapRegion(region: MemoryRegion): Promise<void> {
    await this.#whileConnected((connection) => connection.unshare(region));
  }

  /** A back-end that is lost needs nothing: the next one gets what is mapped then. */
  async #whileConnected(body: (connection: VhostUserConnection) => Promise<void>): Promise<void> {
    const connection = this.#open;
    if (this.#isLost) return;
    try {
      await body(connection);
    } catch (error) {
      const isGone = connection.frontend.session.end !== undefined;
      if (!isGone) throw asBlkioError(error, this.#settings.path);
    }
  }

  /** For queues whose thread does not run the event loop: look whether the back-end has gone. */
  #checkConnection(): void {
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
  #breakDown(what: string): void {
    if (this.#cutOff(new ProtocolError('BAD_RING', what))) this.#giveUp(IO_ERROR);
  }

  /** End the connection. False if there is nothing more to do about it. */
  #cutOff(reason: ProtocolError): boolean {
    if (this.#isLost || this.#isClosed) return false;
    this.#isLost = true;
    // Before the socket is closed, which they watch.
    for (const channel of this.#channels) channel.lose();
    this.#connection?.close();
    // `start` will tell.
    if (!this.#isStarted) return false;
    this.events.onDisconnect(asBlkioError(reason, this.#settings.path));
    return true;
  }

  #giveUp(failure: number): void {
    this.#failure = failure;
    for (const channel of this.#channels) channel.fail(failure);
  }

  async #reconnect(): Promise<void> {
    const before = this.#open;
    const connection = await this.#openConnection(before.frontend.features);
    try {
      if (this.#isClosed) throw new BlkioError('ENOTCONN', 'the device was closed');
      this.#checkSame(before, connection);
      for (const queue of this.#queues) queue.clear();
      await this.#startRings(connection);
      // Regions may have come and gone meanwhile.
      while (!connection.hasExactly(this.#regions)) await connection.shareExactly(this.#regions);
      this.#adopt(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
    const attempts = this.#reconnection?.attempts ?? 0;
    this.#reconnection = undefined;
    for (const channel of this.#channels) channel.resume(connection.frontend.session.socketNumber);
    this.events.onReconnect(attempts);
    if (before.config.capacityBytes !== connection.config.capacityBytes) {
      this.events.onConfigChange();
    }
  }

  /** What requests and rings were made for must still be there. */
  #checkSame(before: VhostUserConnection, now: VhostUserConnection): void {
    const difference = this.#differenceOf(before, now);
    if (difference === undefined) return;
    const text = `${this.#settings.path}: not the device that it was: ${difference}`;
    throw new BlkioError('EPROTO', text);
  }

  #differenceOf(before: VhostUserConnection, now: VhostUserConnection): string | undefined {
    const missing = before.frontend.features & ~now.frontend.features;
    if (missing !== 0n) return `without features 0x${missing.toString(16)}`;
    const { maxQueues, ...limits } = now.limits;
    if (maxQueues < this.#queues.length) return `${maxQueues} queues`;
    const old = before.limits;
    for (const name of ['requestAlignment', 'maxSegments', 'maxSegmentLen'] as const) {
      if (limits[name] !== old[name]) return `${name} is ${limits[name]}, was ${old[name]}`;
    }
    return undefined;
  }

  /** Let go of everything that a connection takes. Channels are closed. */
  #release(): void {
    this.#attempt?.abort();
    this.#attempt = undefined;
    this.#reconnection?.stop();
    this.#reconnection = undefined;
    this.#connection?.close();
    this.#connection = undefined;
    this.#attached?.home.close();
    this.#attached?.reactor[Symbol.dispose]();
    this.#attached = undefined;
    this.#dropQueues();
  }

  close(): void {
    this.#isClosed = true;
    this.#release();
  }
}

function attach(): { reactor: Reactor; home: AttachedHome } {
  const { reactor } = createReactor('attached');
  return { reactor, home: new AttachedHome(reactor) };
}
