/** A virtio-blk device's configuration space, read as a driver does (virtio 1.3, 5.2.4). */
import { BlockFeature, ConfigOffset, hasFeature, SECTOR_BYTES } from '../../../virtio-blk/index.ts';
import type { DeviceLimits } from '../../driver.ts';

/** Bytes up to the fields of WRITE_ZEROES: what every back-end has since virtio 1.1. */
export const CONFIG_BYTES_READ = 60;
const PAGE_BYTES = 4096;
/** Messages name a ring by 8 bits. */
const MAX_QUEUES = 256;
const INT_MAX = 2 ** 31 - 1;

/** Features that this driver makes use of. */
export const DRIVER_FEATURES: readonly number[] = [
  BlockFeature.SIZE_MAX,
  BlockFeature.SEG_MAX,
  BlockFeature.RO,
  BlockFeature.BLK_SIZE,
  BlockFeature.FLUSH,
  BlockFeature.TOPOLOGY,
  BlockFeature.CONFIG_WCE,
  BlockFeature.MQ,
  BlockFeature.DISCARD,
  BlockFeature.WRITE_ZEROES,
];

/** See the module's comment. Fields of features that were not negotiated are not looked at. */
export class DeviceConfig {
  readonly #view: DataView;
  readonly #features: bigint;

  constructor(bytes: Uint8Array, features: bigint) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#features = features;
  }

  get capacityBytes(): number {
    return Number(this.#view.getBigUint64(ConfigOffset.CAPACITY, true)) * SECTOR_BYTES;
  }

  get numQueues(): number {
    return this.#has(BlockFeature.MQ) ? this.#u16(ConfigOffset.NUM_QUEUES) : 1;
  }

  get isReadOnly(): boolean {
    return this.#has(BlockFeature.RO);
  }

  /** Writes that are done may be lost until a flush. */
  get isWriteBack(): boolean {
    if (!this.#has(BlockFeature.FLUSH)) return false;
    if (!this.#has(BlockFeature.CONFIG_WCE)) return true;
    return this.#view.getUint8(ConfigOffset.WRITEBACK) !== 0;
  }

  /** What no device can mean, if there is anything: it would make nonsense of requests. */
  findFault(maxQueues: number): string | undefined {
    const capacity = this.capacityBytes;
    if (!Number.isSafeInteger(capacity)) return `a capacity of ${capacity} bytes`;
    const blockBytes = this.#blockBytes;
    if (blockBytes < SECTOR_BYTES || (blockBytes & (blockBytes - 1)) !== 0) {
      return `blocks of ${blockBytes} bytes`;
    }
    if (Math.min(maxQueues, this.numQueues) < 1) return 'a device without queues';
    return undefined;
  }

  get #blockBytes(): number {
    return this.#has(BlockFeature.BLK_SIZE) ? this.#u32(ConfigOffset.BLK_SIZE) : SECTOR_BYTES;
  }

  #has(bit: number): boolean {
    return hasFeature(this.#features, bit);
  }

  #u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  #u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  /** What the device can do. */
  limits(maxQueues: number, maxRegions: number): DeviceLimits {
    const blockBytes = this.#blockBytes;
    const hasTopology = this.#has(BlockFeature.TOPOLOGY);
    const maxSegments = this.#has(BlockFeature.SEG_MAX) ? this.#u32(ConfigOffset.SEG_MAX) : 1;
    const sizeMax = this.#has(BlockFeature.SIZE_MAX) ? this.#u32(ConfigOffset.SIZE_MAX) : 0;
    const canDiscard = this.#has(BlockFeature.DISCARD);
    const canWriteZeroes = this.#has(BlockFeature.WRITE_ZEROES);
    const sectors = (offset: number): number => this.#u32(offset) * SECTOR_BYTES;
    return {
      readOnly: this.isReadOnly,
      maxQueues: Math.min(maxQueues, this.numQueues, MAX_QUEUES),
      supportsPollQueues: true,
      needsMemRegions: true,
      needsMemRegionFd: true,
      mayPinMemRegions: true,
      memRegionAlignment: PAGE_BYTES,
      maxMemRegions: BigInt(maxRegions),
      bufAlignment: 1,
      optimalBufAlignment: PAGE_BYTES,
      requestAlignment: blockBytes,
      optimalIoAlignment: SECTOR_BYTES,
      optimalIoSize: hasTopology ? blockBytes * this.#u32(ConfigOffset.OPT_IO_SIZE) : 0,
      maxSegments: Math.max(1, maxSegments),
      maxSegmentLen: sizeMax,
      maxTransfer: Math.min(INT_MAX, sizeMax * maxSegments),
      maxWriteZeroesLen: canWriteZeroes ? sectors(ConfigOffset.MAX_WRITE_ZEROES_SECTORS) : 0,
      maxDiscardLen: canDiscard ? sectors(ConfigOffset.MAX_DISCARD_SECTORS) : 0,
      discardAlignment: canDiscard
        ? sectors(ConfigOffset.DISCARD_SECTOR_ALIGNMENT) || blockBytes
        : blockBytes,
      discardAlignmentOffset: hasTopology
        ? blockBytes * this.#view.getUint8(ConfigOffset.ALIGNMENT_OFFSET)
        : 0,
      canDiscard,
      canWriteZeroes,
      supportsFuaNatively: false,
      flushNeeded: this.isWriteBack,
      canGrow: false,
    };
  }
}
