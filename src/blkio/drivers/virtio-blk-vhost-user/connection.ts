/** A connection to a back-end: what it has agreed to, its configuration, the memory it has. */
import type { Logger, Reactor } from '../../../sys/index.ts';
import {
  Frontend,
  hasProtocolFeature,
  ProtocolError,
  type SharedRegion,
} from '../../../vhost-user/index.ts';
import { BlockFeature, ConfigOffset, featureSet, hasFeature } from '../../../virtio-blk/index.ts';
import { RingFeature } from '../../../virtqueue/index.ts';
import type { DeviceLimits } from '../../driver.ts';
import { BlkioError } from '../../errors.ts';
import type { MemoryRegion } from '../../memory-region.ts';
import { CONFIG_BYTES_READ, DeviceConfig, DRIVER_FEATURES } from './device-config.ts';

const VERSION_1 = 32;
/** Those that are accepted where they are offered. Packed rings only if they are asked for. */
const FEATURES = featureSet(
  ...DRIVER_FEATURES,
  RingFeature.EVENT_IDX,
  RingFeature.INDIRECT_DESC,
  VERSION_1,
);

const PACKED = featureSet(RingFeature.RING_PACKED);

export interface ConnectionOptions {
  readonly reactor: Reactor;
  readonly socketPath: string;
  readonly timeoutMs: number;
  readonly logger: Logger;
  /** Packed rings, which the back-end must have; else split ones, which all have. */
  readonly packed: boolean;
  /** Virtio features to accept of those this driver knows; default: all. */
  readonly features?: bigint;
  /** Hangs up when it is aborted, while connecting or later. */
  readonly signal: AbortSignal;
}

/** Whoever uses a connection. */
export interface ConnectionUser {
  /** The configuration space has been read anew. */
  onConfigChange(): void;
  /** The connection has ended otherwise than by `close`: its socket is closed after this. */
  onDisconnect(reason: ProtocolError): void;
}

/** Regions of the driver: that of the queues, and that through which buffers are copied. */
const OWN_REGIONS = 2;

/** See the module's comment. */
export class VhostUserConnection {
  readonly frontend: Frontend;
  readonly #shared = new Map<MemoryRegion, SharedRegion>();
  #config: DeviceConfig;
  #user: ConnectionUser | undefined;
  #isRereading = false;
  /** The configuration has changed while it was read. */
  #isOutdated = false;

  static async open(options: ConnectionOptions): Promise<VhostUserConnection> {
    const known = options.packed ? FEATURES | PACKED : FEATURES;
    const features = known & (options.features ?? known);
    const frontend = await Frontend.connect({ ...options, features });
    try {
      const { session } = frontend;
      checkFeatures(frontend, options);
      const connection = new VhostUserConnection(frontend, await readConfig(frontend));
      session.onDisconnect = (reason) => connection.#user?.onDisconnect(reason);
      session.onConfigChange = () => void connection.#rereadConfig();
      if (hasProtocolFeature(session.protocolFeatures, 'BACKEND_REQ')) {
        await session.openBackendChannel();
      }
      return connection;
    } catch (error) {
      frontend.close();
      throw error;
    }
  }

  private constructor(frontend: Frontend, config: DeviceConfig) {
    this.frontend = frontend;
    this.#config = config;
  }

  get config(): DeviceConfig {
    return this.#config;
  }

  get limits(): DeviceLimits {
    const { maxQueues, maxRegions } = this.frontend;
    return this.#config.limits(maxQueues, Math.max(0, maxRegions - OWN_REGIONS));
  }

  /** Tell `user` from now on. Throws a `ProtocolError` if there is nothing to tell any more. */
  use(user: ConnectionUser): void {
    const { end } = this.frontend.session;
    if (end !== undefined) throw end;
    this.#user = user;
  }

  /** Once for any number of changes meanwhile: a back-end may send more than it answers. */
  async #rereadConfig(): Promise<void> {
    this.#isOutdated = true;
    if (this.#isRereading) return;
    this.#isRereading = true;
    while (this.#isOutdated) {
      this.#isOutdated = false;
      try {
        this.#config = await readConfig(this.frontend);
        this.#user?.onConfigChange();
      } catch {
        // What was known stays in force. If the connection has ended, its user has been told.
      }
    }
    this.#isRereading = false;
  }

  /** Whether the back-end has these regions, and no others. */
  hasExactly(regions: readonly MemoryRegion[]): boolean {
    return (
      regions.length === this.#shared.size && regions.every((region) => this.#shared.has(region))
    );
  }

  /** Make that so. */
  async shareExactly(regions: readonly MemoryRegion[]): Promise<void> {
    const wanted = new Set(regions);
    for (const region of this.#shared.keys()) {
      if (!wanted.has(region)) await this.unshare(region);
    }
    const missing = regions.filter((region) => !this.#shared.has(region));
    if (missing.length > 0) await this.share(missing);
  }

  /** Share regions, in one go where the protocol allows it. */
  async share(regions: readonly MemoryRegion[]): Promise<void> {
    const shared = regions.map((region): SharedRegion => {
      const { address, sizeBytes, fdOffsetBytes } = region;
      // The back-end reaches memory by the addresses it has here.
      const addresses = { guestAddress: address, userAddress: address };
      return { ...addresses, sizeBytes, mmapOffset: fdOffsetBytes, fd: region.file };
    });
    await this.frontend.addRegions(shared);
    for (const [index, region] of regions.entries()) this.#shared.set(region, shared[index]);
  }

  async unshare(region: MemoryRegion): Promise<void> {
    const shared = this.#shared.get(region);
    if (shared === undefined) return;
    this.#shared.delete(region);
    await this.frontend.removeRegion(shared);
  }

  /**
   * If writes were stable when they completed with an earlier connection, have them so with this
   * one: nobody flushes there. Throws if the back-end does not.
   */
  async keepWritesStable(before: VhostUserConnection): Promise<void> {
    if (before.config.isWriteBack || !this.#config.isWriteBack) return;
    if (!hasFeature(this.frontend.features, BlockFeature.CONFIG_WCE)) {
      throw new ProtocolError('BAD_FEATURES', 'writes are not stable any more when they complete');
    }
    await this.frontend.writeConfig(ConfigOffset.WRITEBACK, Uint8Array.of(0));
    this.#config = await readConfig(this.frontend);
  }

  /** What an earlier connection's users miss here, if anything. */
  differenceFrom(before: VhostUserConnection, queueCount: number): string | undefined {
    const missing = before.frontend.features & ~this.frontend.features;
    if (missing !== 0n) return `without features 0x${missing.toString(16)}`;
    const { limits } = this;
    if (limits.maxQueues < queueCount) return `${limits.maxQueues} queues`;
    const old = before.limits;
    for (const name of ['requestAlignment', 'maxSegments', 'maxSegmentLen'] as const) {
      if (limits[name] !== old[name]) return `${name} is ${limits[name]}, was ${old[name]}`;
    }
    return undefined;
  }

  close(): void {
    this.frontend.close();
  }
}

function checkFeatures(frontend: Frontend, { socketPath, packed }: ConnectionOptions): void {
  if (!hasProtocolFeature(frontend.session.protocolFeatures, 'CONFIG')) {
    const text = `${socketPath}: the back-end does not show its configuration (CONFIG)`;
    throw new BlkioError('ENOTSUP', text);
  }
  if (!hasFeature(frontend.features, VERSION_1)) {
    throw new BlkioError('ENOTSUP', `${socketPath}: a back-end before virtio 1.0 (VERSION_1)`);
  }
  if (packed && !hasFeature(frontend.features, RingFeature.RING_PACKED)) {
    const text = `${socketPath}: the back-end does not have packed rings (RING_PACKED)`;
    throw new BlkioError('ENOTSUP', text);
  }
}

async function readConfig(frontend: Frontend): Promise<DeviceConfig> {
  const bytes = await frontend.readConfig(0, CONFIG_BYTES_READ);
  const config = new DeviceConfig(bytes, frontend.features);
  const fault = config.findFault(frontend.maxQueues);
  if (fault !== undefined) throw new ProtocolError('BAD_CONFIG', fault);
  return config;
}
