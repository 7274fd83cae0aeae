/** The `virtio-blk-vhost-user` driver: the disk of any vhost-user-blk back-end. */
import { Errno } from '../../../sys/index.ts';
import { BlockFeature, hasFeature } from '../../../virtio-blk/index.ts';
import { RingFeature, ringFormat } from '../../../virtqueue/index.ts';
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
import { BackendLink, type BackendLinkUser } from './backend-link.ts';
import type { VhostUserConnection } from './connection.ts';
import { DeviceEnd } from './queue-link.ts';
import { ENTRIES_PER_TABLE } from './queue-memory.ts';
import { QueueSet } from './queue-set.ts';
import { defaultSettings, settingsProperties } from './vhost-user-settings.ts';
import { type ChannelFeatures, VirtioBlkChannel } from './virtio-blk-channel.ts';

/** Descriptors of a read or write beside its data: header and status. */
const AROUND_DATA = 2;

/** See the module's comment. */
export class VirtioBlkVhostUserDriver implements Driver, BackendLinkUser {
  readonly name = 'virtio-blk-vhost-user';
  readonly canAddQueues = false;
  events: DriverEvents = silentEvents;
  readonly #settings = defaultSettings();
  #options: ConnectOptions | undefined;
  #backend: BackendLink | undefined;
  #queues: QueueSet | undefined;
  /** Queues in other threads. */
  readonly #remoteQueues = new Set<DeviceEnd>();

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
    const backend = new BackendLink(this.#settings, this);
    this.#backend = backend;
    try {
      await backend.connect();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  get #connected(): BackendLink {
    if (this.#backend !== undefined) return this.#backend;
    throw new BlkioError('ENODEV', 'the device is not connected');
  }

  get #connection(): VhostUserConnection {
    return this.#connected.connection;
  }

  onConfigChange(): void {
    for (const queue of this.#remoteQueues) queue.capacityBytes = this.capacityBytes();
    this.events.onConfigChange();
  }

  onDisconnect(reason: BlkioError): void {
    this.events.onDisconnect(reason);
  }

  onReconnect(attempts: number): void {
    this.events.onReconnect(attempts);
  }

  capacityBytes(): number {
    return this.#connection.config.capacityBytes;
  }

  limits(): DeviceLimits {
    const { limits } = this.#connection;
    const maxSegments = Math.min(limits.maxSegments, this.#longestChain - AROUND_DATA);
    return { ...limits, maxSegments };
  }

  /** Descriptors of a request for which there is room on an empty ring. */
  get #longestChain(): number {
    const { queueSize } = this.#settings;
    const hasTables = hasFeature(this.#connection.frontend.features, RingFeature.INDIRECT_DESC);
    return hasTables ? Math.max(queueSize, ENTRIES_PER_TABLE) : queueSize;
  }

  async start(counts: { readonly queues: number; readonly pollQueues: number }): Promise<void> {
    const { queueSize } = this.#settings;
    if (this.#longestChain <= AROUND_DATA) {
      const text = `queue-size ${queueSize}: no request fits, as this back-end has no tables`;
      throw new BlkioError('EINVAL', text);
    }
    const format = ringFormat(this.#connection.frontend.features);
    this.#queues = new QueueSet(counts.queues + counts.pollQueues, queueSize, format);
    try {
      await this.#connected.start(this.#queues);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  get regions(): readonly MemoryRegion[] {
    const queues = this.#queues === undefined ? [] : [this.#queues.region];
    return [...queues, ...(this.#options?.regions ?? [])];
  }

  get #started(): QueueSet {
    if (this.#queues !== undefined) return this.#queues;
    throw new BlkioError('ENODEV', 'the device is not started');
  }

  openQueue({ index, isPolled, reactor, requests, handler }: QueuePlan): QueueChannel {
    const queues = this.#started;
    const backend = this.#connected;
    const channel = new VirtioBlkChannel({
      ...this.#channelFeatures(isPolled),
      ...{ memory: queues.memory(index), reactor, requests, handler },
      isConnected: !backend.isLost,
      reconnectsHere: true,
      watchConnection: () => {
        const { socketNumber } = backend.connection.frontend.session;
        return reactor.watch(socketNumber, { onReadable: () => backend.checkHangUp() });
      },
      onBroken: (fault) => backend.breakDown(index, fault),
      onClose: () => queues.release(index),
    });
    queues.use(index, channel);
    if (backend.failure !== 0) channel.fail(backend.failure);
    return channel;
  }

  shareQueue({ index, isPolled, lease }: SharePlan): VhostUserQueueHandle {
    const queues = this.#started;
    const backend = this.#connected;
    const link = new DeviceEnd(backend.reactor, lease, {
      onQuiet: () => void backend.restartQueue(index),
      onFault: (fault) => backend.breakDown(index, fault),
    });
    this.#remoteQueues.add(link);
    link.capacityBytes = this.capacityBytes();
    queues.use(index, link);
    if (backend.isLost) link.lose();
    if (backend.failure !== 0) link.fail(backend.failure);
    return {
      kind: 'virtio-blk-vhost-user',
      memory: queues.memory(index).share(),
      features: this.#channelFeatures(isPolled),
      link: link.share(),
    };
  }

  #channelFeatures(isPolled: boolean): ChannelFeatures {
    const { features } = this.#connection.frontend;
    const { maxSegmentLen, maxSegments } = this.limits();
    return {
      ...{ isPolled, maxSegmentLen, maxSegments },
      eventIdx: hasFeature(features, RingFeature.EVENT_IDX),
      indirect: hasFeature(features, RingFeature.INDIRECT_DESC),
      canFlush: hasFeature(features, BlockFeature.FLUSH),
    };
  }

  async mapRegion(region: MemoryRegion): Promise<void> {
    await this.#connected.mapRegion(region);
  }

  async unmapRegion(region: MemoryRegion): Promise<void> {
    await this.#connected.unmapRegion(region);
  }

  /** Let go of everything that a connection takes. Channels are closed. */
  #release(): void {
    this.#backend?.close();
    this.#backend = undefined;
    this.#queues?.[Symbol.dispose]();
    this.#queues = undefined;
  }

  close(): void {
    for (const queue of this.#remoteQueues) {
      queue.fail(-Errno.ENOTCONN);
      queue.close();
    }
    this.#remoteQueues.clear();
    this.#release();
  }
}
