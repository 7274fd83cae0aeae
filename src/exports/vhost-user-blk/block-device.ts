/**
 * The block device that a vhost-user session serves: configuration space and features here, queues
 * spread over hosts.
 */
import type { MemoryRegion } from '../../memory/index.ts';
import { type DiskClaim, type DiskInfo, StorageError } from '../../storage/index.ts';
import { type Logger, type Mapping, silentLogger } from '../../sys/index.ts';
import {
  type BackendDevice,
  type HaltMode,
  ProtocolError,
  type RingSetup,
} from '../../vhost-user/index.ts';
import {
  ConfigSpace,
  type DeviceState,
  offeredFeatures,
  SECTOR_BYTES,
} from '../../virtio-blk/index.ts';
import type { BrokenRingHandler, QueueHost } from './queue-host.ts';
import { WritebackField } from './writeback-field.ts';

export interface BlockDeviceOptions {
  readonly disk: DiskInfo;
  readonly numQueues: number;
  readonly maxQueueSize: number;
  /** Shared with the hosts. */
  readonly state: DeviceState;
  /** Queue n runs on host n modulo their number. */
  readonly hosts: readonly QueueHost[];
  /** To have while rings run. */
  readonly claim?: DiskClaim | undefined;
  readonly logger?: Logger;
}

/** See WritebackField. */
const CAUTIOUS =
  'whether the driver relies on stable writes is not known: they are, until it flushes or says';

/** See the module's comment. */
export class BlockDevice implements BackendDevice {
  readonly features: bigint;
  readonly numQueues: number;
  readonly maxQueueSize: number;
  readonly #disk: DiskInfo;
  readonly #config: ConfigSpace;
  readonly #state: DeviceState;
  readonly #hosts: readonly QueueHost[];
  readonly #claim: DiskClaim | undefined;
  readonly #running = new Set<number>();
  readonly #logger: Logger;
  #writeback: WritebackField;

  constructor(options: BlockDeviceOptions) {
    this.features = offeredFeatures(options.disk);
    this.numQueues = options.numQueues;
    this.maxQueueSize = options.maxQueueSize;
    this.#disk = options.disk;
    this.#config = new ConfigSpace(options.disk, options.numQueues);
    this.#state = options.state;
    this.#hosts = options.hosts;
    this.#claim = options.claim;
    this.#logger = options.logger ?? silentLogger;
    this.capacityBytes = options.disk.sizeBytes;
    this.#writeback = this.#newField();
  }

  #newField(): WritebackField {
    return new WritebackField(this.#config, this.#state, this.#disk.writeBack);
  }

  /** Size of the disk. Requests that are taken from now on must keep to it. */
  get capacityBytes(): number {
    return this.#state.capacitySectors * SECTOR_BYTES;
  }

  set capacityBytes(bytes: number) {
    this.#config.capacitySectors = bytes / SECTOR_BYTES;
    this.#state.capacitySectors = bytes / SECTOR_BYTES;
  }

  readConfig(offset: number, sizeBytes: number): Uint8Array {
    this.#writeback.onRead(offset, sizeBytes);
    return this.#config.read(offset, sizeBytes);
  }

  writeConfig(offset: number, bytes: Uint8Array, isMigration: boolean): boolean {
    const hasField = isMigration
      ? this.#config.restore(offset, bytes)
      : this.#config.write(offset, bytes);
    if (hasField) this.#writeback.onWrite();
    return hasField || isMigration;
  }

  get keptByte(): number {
    return this.#writeback.kept;
  }

  recall(keptByte: number): void {
    this.#writeback.recall(keptByte);
  }

  async setMemory(regions: readonly MemoryRegion[]): Promise<void> {
    const forHost = (host: QueueHost): Promise<void> =>
      host.setMemory(
        regions.map(({ mapping, ...region }) => ({ ...region, mapping: mapping.handle() })),
      );
    await Promise.all(this.#hosts.map(forHost));
  }

  async setLog(log: Mapping | undefined): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.setLog(log?.handle())));
  }

  async runRing(setup: RingSetup, onBroken: BrokenRingHandler): Promise<void> {
    if (this.#running.size === 0) acquire(this.#claim);
    this.#running.add(setup.index);
    if (!this.#writeback.onRun(setup)) this.#logger.info(CAUTIOUS);
    try {
      await this.#host(setup.index).runRing(setup, onBroken);
    } catch (error) {
      this.#hasStopped(setup.index);
      throw error;
    }
  }

  async haltRing(index: number, mode: HaltMode): Promise<number> {
    try {
      return await this.#host(index).haltRing(index, mode);
    } finally {
      // Before the front-end is told: from then on another process may use the disk. A host that
      // has died runs it no more, either.
      this.#hasStopped(index);
    }
  }

  #hasStopped(index: number): void {
    this.#running.delete(index);
    if (this.#running.size === 0) this.#claim?.release();
  }

  rewireRing(setup: RingSetup): Promise<void> {
    return this.#host(setup.index).rewireRing(setup);
  }

  /** The cache mode after a reset may be either (5.2.5): it stays what the front-end has of it. */
  reset(): void {}

  /** The client has gone: the next one finds everything as at the start. */
  forgetClient(): void {
    this.#writeback = this.#newField();
  }

  #host(index: number): QueueHost {
    return this.#hosts[index % this.#hosts.length];
  }
}

/** Throws a `ProtocolError` if another process uses the disk: the ring cannot run. */
function acquire(claim: DiskClaim | undefined): void {
  try {
    claim?.acquire();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    throw new ProtocolError('WRONG_STATE', error.message, { cause: error });
  }
}
