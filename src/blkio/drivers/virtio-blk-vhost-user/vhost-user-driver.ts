/**
 * The `virtio-blk-vhost-user` driver: the disk of any vhost-user-blk back-end. When the back-end
 * goes away and the device is to connect again, what was under way is asked for once more, and done
 * at least once; else it fails with ECONNRESET.
 */
import {
  AttachedHome,
  createReactor,
  Errno,
  isHungUp,
  type Reactor,
  SystemError,
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
import { BlkioError, type BlkioErrorCode, blkioCode } from '../../errors.ts';
import type { MemoryRegion } from '../../memory-region.ts';
import type { Property } from '../../property-table.ts';
import { VhostUserConnection } from './connection.ts';
import { QueueMemory } from './queue-memory.ts';
import { Reconnection } from './reconnection.ts';
import { defaultSettings, settingsProperties } from './vhost-user-settings.ts';
import { VirtioBlkChannel } from './virtio-blk-channel.ts';

const LOST = -Errno.ECONNRESET;

/** See the module's comment. */
export class VirtioBlkVhostUserDriver implements Driver {
  readonly name = 'virtio-blk-vhost-user';
  readonly canAddQueues = false;
  events: DriverEvents = silentEvents;
  readonly #settings = defaultSettings();
  readonly #queues: QueueMemory[] = [];
  readonly #channels = new Set<VirtioBlkChannel>();
  #options: ConnectOptions | undefined;
  #attached: { readonly reactor: Reactor; readonly home: AttachedHome } | undefined;
  #connection: VhostUserConnection | undefined;
  /** Present while there is no back-end. */
  #reconnection: Reconnection | undefined;
  #isLost = false;
  #isClosed = false;

  get slotsPerQueue(): number {
    return this.#settings.queueSize;
  }

  properties(): readonly Property[] {
    return settingsProperties(this.#settings);
  }

  async connect(options: ConnectOptions): Promise<void> {
    if (this.#settings.path === '') throw new BlkioError('EINVAL', 'the property path is not set');
    this.#options = options;
    this.#connection = await this.#openConnection();
    this.#isLost = false;
  }

  async #openConnection(): Promise<VhostUserConnection> {
    const { path, timeoutMs } = this.#settings;
    this.#attached ??= attach();
    try {
      const connection = await VhostUserConnection.open({
        reactor: this.#attached.reactor,
        socketPath: path,
        timeoutMs,
        logger: silentLogger,
        onConfigChange: () => this.events.onConfigChange(),
        onDisconnect: (reason) => {
          if (this.#connection === connection) this.#lose(reason);
        },
      });
      return connection;
    } catch (error) {
      throw asBlkioError(error, path);
    }
  }

  get #open(): VhostUserConnection {
    if (this.#connection !== undefined) return this.#connection;
    throw new BlkioError('ENODEV', 'the device is not connected');
  }

  capacityBytes(): number {
    return this.#open.config.capacityBytes;
  }

  limits(): DeviceLimits {
    const { frontend, config } = this.#open;
    // Each queue's ring takes a region, too.
    return config.limits(frontend.maxQueues, frontend.maxRegions);
  }

  async start(counts: { readonly queues: number; readonly pollQueues: number }): Promise<void> {
    const { queueSize, path } = this.#settings;
    for (let index = 0; index < counts.queues + counts.pollQueues; index++) {
      this.#queues.push(new QueueMemory(index, queueSize, index >= counts.queues));
    }
    try {
      await this.#startRings(this.#open);
    } catch (error) {
      for (const queue of this.#queues.splice(0)) queue[Symbol.dispose]();
      throw asBlkioError(error, path);
    }
  }

  async #startRings(connection: VhostUserConnection): Promise<void> {
    await connection.share([
      ...this.#queues.map(({ region }) => region),
      ...(this.#options?.regions ?? []),
    ]);
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
      socket: session.socketNumber,
      onHangUp: () => this.#checkConnection(),
      onClose: () => this.#channels.delete(channel),
    });
    this.#channels.add(channel);
    if (this.#isLost) channel.lose();
    return channel;
  }

  async mapRegion(region: MemoryRegion): Promise<void> {
    if (this.#isLost) return;
    await this.#open.share([region]).catch((error: unknown) => {
      throw asBlkioError(error, this.#settings.path);
    });
  }

  async unmapRegion(region: MemoryRegion): Promise<void> {
    if (!this.#isLost) await this.#open.unshare(region);
  }

  /** For queues whose thread does not run the event loop: look whether the back-end has gone. */
  #checkConnection(): void {
    const connection = this.#connection;
    if (connection === undefined || !isHungUp(connection.frontend.session.socketNumber)) return;
    this.#lose(new ProtocolError('DISCONNECTED', 'the back-end hung up'));
  }

  #lose(reason: unknown): void {
    if (this.#isLost || this.#isClosed) return;
    this.#isLost = true;
    this.#connection?.close();
    for (const channel of this.#channels) channel.lose();
    const error = asBlkioError(reason, this.#settings.path);
    this.events.onDisconnect(error);
    const { reconnectMs, reconnectLimit } = this.#settings;
    if (reconnectMs === 0) {
      this.#giveUp();
      return;
    }
    this.#reconnection = new Reconnection({
      firstDelayMs: reconnectMs,
      limit: reconnectLimit,
      attempt: () => this.#reconnect(),
      onGiveUp: () => this.#giveUp(),
    });
  }

  #giveUp(): void {
    for (const channel of [...this.#channels]) channel.fail(LOST);
  }

  async #reconnect(): Promise<void> {
    const before = this.#open;
    const connection = await this.#openConnection();
    try {
      this.#checkSame(before, connection);
      for (const queue of this.#queues) queue.clear();
      await this.#startRings(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
    if (this.#isClosed) {
      connection.close();
      return;
    }
    this.#connection = connection;
    this.#isLost = false;
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
    const missing = before.frontend.features & ~now.frontend.features;
    if (missing === 0n && now.frontend.maxQueues >= this.#queues.length) return;
    const what = missing === 0n ? 'has fewer queues' : `lacks features 0x${missing.toString(16)}`;
    throw new BlkioError('EPROTO', `${this.#settings.path}: the back-end ${what} than before`);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reconnection?.stop();
    this.#connection?.close();
    this.#attached?.home.close();
    this.#attached?.reactor[Symbol.dispose]();
    for (const queue of this.#queues) queue[Symbol.dispose]();
  }
}

function attach(): { reactor: Reactor; home: AttachedHome } {
  const { reactor } = createReactor('attached');
  return { reactor, home: new AttachedHome(reactor) };
}

const PROTOCOL_CODES: Readonly<Partial<Record<string, BlkioErrorCode>>> = {
  NO_REPLY: 'ETIMEDOUT',
  DISCONNECTED: 'ECONNRESET',
};

/** An error of the connection, by libblkio's conventions. */
function asBlkioError(error: unknown, path: string): BlkioError {
  if (error instanceof BlkioError) return error;
  const options = { cause: error };
  if (error instanceof ProtocolError) {
    const code = PROTOCOL_CODES[error.code] ?? 'EPROTO';
    return new BlkioError(code, `${path}: ${error.message}`, options);
  }
  if (error instanceof SystemError) {
    // A full queue of connections: somebody is there, but busy.
    const code = error.code === 'EAGAIN' ? 'EBUSY' : blkioCode(error.code);
    return new BlkioError(code, error.message, options);
  }
  throw error;
}
