/**
 * The `virtio-blk-vhost-user` driver: the disk of any vhost-user-blk back-end. When the back-end
 * goes away and the device is to connect again, what was under way is asked for once more, and done
 * at least once; else it fails with ECONNRESET.
 */
import {
  AttachedHome,
  Errno,
  IO_ERROR,
  isHungUp,
  type Reactor,
  silentLogger,
} from '../../../sys/index.ts';
import { ProtocolError } from '../../../vhost-user/index.ts';
import { BlockFeature, hasFeature } from '../../../virtio-blk/index.ts';
import { RingFeature } from '../../../virtqueue/index.ts';
import { createDeviceReactor } from '../../device-reactor.ts';
import {
  type ConnectOptions,
  type DeviceLimits,
  type Driver,
  type DriverEvents,
  type QueueChannel,
  type QueuePlan,
  type SharePlan,
  silentEvents,
} from '../../driver.ts';
import { BlkioError } from '../../errors.ts';
import type { MemoryRegion } from '../../memory-region.ts';
import type { Property } from '../../property-table.ts';
import type { VhostUserQueueHandle } from './adopted-queue.ts';
import { VhostUserConnection } from './connection.ts';
import { asBlkioError } from './connection-errors.ts';
import { DeviceEnd } from './queue-link.ts';
import { ENTRIES_PER_TABLE } from './queue-memory.ts';
import { QueueSet } from './queue-set.ts';
import { Reconnection } from './reconnection.ts';
import { describeRingFault } from './ring-fault.ts';
import { defaultSettings, settingsProperties } from './vhost-user-settings.ts';
import { type ChannelFeatures, VirtioBlkChannel } from './virtio-blk-channel.ts';

const LOST = -Errno.ECONNRESET;
/** Descriptors of a read or write beside its data: header and status. */
const AROUND_DATA = 2;

/** The event loop's reactor, on which the connection is. */
interface Attached {
  readonly reactor: Reactor;
  readonly home: AttachedHome;
}

/** See the module's comment. */
export class VirtioBlkVhostUserDriver implements Driver {
  readonly name = 'virtio-blk-vhost-user';
  readonly canAddQueues = false;
  events: DriverEvents = silentEvents;
  readonly #settings = defaultSettings();
  #queues: QueueSet | undefined;
  /** Queues in other threads. */
  readonly #links = new Set<DeviceEnd>();
  #options: ConnectOptions | undefined;
  #attached: Attached | undefined;
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
      onConfigChange: () => this.#onConfigChange(),
      onDisconnect: (reason) => this.#lose(reason),
    });
    this.#connection = connection;
    this.#isLost = false;
  }

  #onConfigChange(): void {
    for (const link of this.#links) link.capacityBytes = this.capacityBytes();
    this.events.onConfigChange();
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
    this.#queues = new QueueSet(counts.queues + counts.pollQueues, queueSize);
    try {
      await this.#open.shareExactly(this.#regions);
      await this.#queues.startAll(this.#open.frontend);
      // Without acknowledgements nothing else tells.
      if (this.#isLost) throw new BlkioError('ECONNRESET', `${path}: the back-end hung up`);
    } catch (error) {
      this.#release();
      throw asBlkioError(error, path);
    }
    this.#isStarted = true;
  }

  get #regions(): MemoryRegion[] {
    const queues = this.#queues === undefined ? [] : [this.#queues.region];
    return [...queues, ...(this.#options?.regions ?? [])];
  }

  get #started(): QueueSet {
    if (this.#queues !== undefined) return this.#queues;
    throw new BlkioError('ENODEV', 'the device is not started');
  }

  openQueue({ index, isPolled, reactor, requests, handler }: QueuePlan): QueueChannel {
    const queues = this.#started;
    const channel = new VirtioBlkChannel({
      ...this.#channelFeatures(isPolled),
      ...{ memory: queues.memory(index), reactor, requests, handler },
      isConnected: !this.#isLost,
      reconnectsHere: true,
      watchConnection: () => {
        const { socketNumber } = this.#open.frontend.session;
        return reactor.watch(socketNumber, { onReadable: () => this.#checkConnection() });
      },
      onBroken: (fault) => this.#breakDown(index, fault),
      onClose: () => queues.release(index),
    });
    queues.use(index, channel);
    if (this.#failure !== 0) channel.fail(this.#failure);
    return channel;
  }

  shareQueue({ index, isPolled, lease }: SharePlan): VhostUserQueueHandle {
    const queues = this.#started;
    const { reactor } = this.#attached as Attached;
    const link = new DeviceEnd(reactor, lease, {
      onQuiet: () => void this.#restartQueue(index),
      onFault: (fault) => this.#breakDown(index, fault),
    });
    this.#links.add(link);
    link.capacityBytes = this.capacityBytes();
    queues.use(index, link);
    if (this.#isLost) link.lose();
    if (this.#failure !== 0) link.fail(this.#failure);
    return {
      kind: 'virtio-blk-vhost-user',
      memory: queues.memory(index).share(),
      features: this.#channelFeatures(isPolled),
      link: link.share(),
    };
  }

  #channelFeatures(isPolled: boolean): ChannelFeatures {
    const { features } = this.#open.frontend;
    const { maxSegmentLen, maxSegments } = this.limits();
    return {
      ...{ isPolled, maxSegmentLen, maxSegments },
      eventIdx: hasFeature(features, RingFeature.EVENT_IDX),
      indirect: hasFeature(features, RingFeature.INDIRECT_DESC),
      canFlush: hasFeature(features, BlockFeature.FLUSH),
    };
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
  #breakDown(index: number, fault: number): void {
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
    if (!this.#isStarted) return false;
    this.events.onDisconnect(asBlkioError(reason, this.#settings.path));
    return true;
  }

  #giveUp(failure: number): void {
    this.#failure = failure;
    for (const user of this.#queues?.users ?? []) user.fail(failure);
  }

  async #reconnect(): Promise<void> {
    const before = this.#open;
    const queues = this.#started;
    const connection = await this.#openConnection(before.frontend.features);
    let started: readonly number[];
    try {
      if (this.#isClosed) throw new BlkioError('ENOTCONN', 'the device was closed');
      this.#checkSame(before, connection);
      await connection.shareExactly(this.#regions);
      started = await queues.restart(connection.frontend);
      // Regions may have come and gone meanwhile.
      while (!connection.hasExactly(this.#regions)) await connection.shareExactly(this.#regions);
      this.#adopt(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
    const attempts = this.#reconnection?.attempts ?? 0;
    this.#reconnection = undefined;
    for (const index of started) queues.resume(index);
    this.#restartQuiet(started);
    this.events.onReconnect(attempts);
    if (before.config.capacityBytes !== connection.config.capacityBytes) this.#onConfigChange();
  }

  /** Those that became quiet while others were started. */
  #restartQuiet(started: readonly number[]): void {
    for (let index = 0; index < this.#started.count; index++) {
      if (!started.includes(index)) void this.#restartQueue(index);
    }
  }

  /** A queue of another thread that has let go of its ring after the back-end came back. */
  async #restartQueue(index: number): Promise<void> {
    const connection = this.#connection;
    if (this.#isLost || connection === undefined) return;
    const queues = this.#started;
    try {
      if (!(await queues.restartOne(connection.frontend, index))) return;
    } catch {
      // The connection has ended: its user has been told.
      return;
    }
    if (connection === this.#connection && !this.#isLost) queues.resume(index);
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
    if (maxQueues < this.#started.count) return `${maxQueues} queues`;
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
    this.#queues?.[Symbol.dispose]();
    this.#queues = undefined;
  }

  close(): void {
    this.#isClosed = true;
    for (const link of this.#links) {
      link.fail(-Errno.ENOTCONN);
      link.close();
    }
    this.#links.clear();
    this.#release();
  }
}

function attach(): Attached {
  const reactor = createDeviceReactor('attached');
  return { reactor, home: new AttachedHome(reactor) };
}
