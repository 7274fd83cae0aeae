/** A connection to a back-end: what it has agreed to, its configuration, the memory it has. */
import type { Logger, Reactor } from '../../../sys/index.ts';
import {
  Frontend,
  hasProtocolFeature,
  type ProtocolError,
  type SharedRegion,
} from '../../../vhost-user/index.ts';
import { featureSet } from '../../../virtio-blk/index.ts';
import { RingFeature } from '../../../virtqueue/index.ts';
import { BlkioError } from '../../errors.ts';
import type { MemoryRegion } from '../../memory-region.ts';
import { CONFIG_BYTES_READ, DeviceConfig, DRIVER_FEATURES } from './device-config.ts';

const VERSION_1 = 32;
const FEATURES = featureSet(
  ...DRIVER_FEATURES,
  RingFeature.EVENT_IDX,
  RingFeature.INDIRECT_DESC,
  VERSION_1,
);

export interface ConnectionOptions {
  readonly reactor: Reactor;
  readonly socketPath: string;
  readonly timeoutMs: number;
  readonly logger: Logger;
  /** The configuration space has been read anew. */
  readonly onConfigChange: () => void;
  readonly onDisconnect: (reason: ProtocolError) => void;
}

/** See the module's comment. */
export class VhostUserConnection {
  readonly frontend: Frontend;
  readonly #shared = new Map<MemoryRegion, SharedRegion>();
  #config: DeviceConfig;

  static async open(options: ConnectionOptions): Promise<VhostUserConnection> {
    const { reactor, socketPath, timeoutMs, logger } = options;
    const features = FEATURES;
    const frontend = await Frontend.connect({ reactor, socketPath, timeoutMs, logger, features });
    try {
      const has = (name: 'CONFIG' | 'BACKEND_REQ'): boolean =>
        hasProtocolFeature(frontend.session.protocolFeatures, name);
      if (!has('CONFIG')) {
        const text = `${socketPath}: the back-end does not show its configuration (CONFIG)`;
        throw new BlkioError('ENOTSUP', text);
      }
      const connection = new VhostUserConnection(frontend, await readConfig(frontend));
      frontend.session.onDisconnect = options.onDisconnect;
      frontend.session.onConfigChange = () => {
        void connection.#rereadConfig().then(options.onConfigChange, () => {});
      };
      if (has('BACKEND_REQ')) await frontend.session.openBackendChannel();
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

  async #rereadConfig(): Promise<void> {
    this.#config = await readConfig(this.frontend);
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

  close(): void {
    this.frontend.close();
  }
}

async function readConfig(frontend: Frontend): Promise<DeviceConfig> {
  return new DeviceConfig(await frontend.readConfig(0, CONFIG_BYTES_READ), frontend.features);
}
