/**
 * The device's configuration space (virtio 1.3, 5.2.4): 96 little-endian bytes, of which the driver
 * may write one, `writeback`.
 */
import type { DiskInfo } from '../storage/index.ts';
import { Limit, SECTOR_BYTES } from './constants.ts';

/** Bytes of struct virtio_blk_config. Reads beyond give zeros. */
export const CONFIG_BYTES = 96;

/** Byte offsets of the fields in use. */
export const ConfigOffset = {
  CAPACITY: 0x00,
  SIZE_MAX: 0x08,
  SEG_MAX: 0x0c,
  BLK_SIZE: 0x14,
  PHYSICAL_BLOCK_EXP: 0x18,
  ALIGNMENT_OFFSET: 0x19,
  MIN_IO_SIZE: 0x1a,
  OPT_IO_SIZE: 0x1c,
  WRITEBACK: 0x20,
  NUM_QUEUES: 0x22,
  MAX_DISCARD_SECTORS: 0x24,
  MAX_DISCARD_SEG: 0x28,
  DISCARD_SECTOR_ALIGNMENT: 0x2c,
  MAX_WRITE_ZEROES_SECTORS: 0x30,
  MAX_WRITE_ZEROES_SEG: 0x34,
  WRITE_ZEROES_MAY_UNMAP: 0x38,
} as const;

/** See the module's comment. */
export class ConfigSpace {
  readonly #bytes = new Uint8Array(CONFIG_BYTES);

  constructor(disk: DiskInfo, numQueues: number) {
    this.capacitySectors = disk.sizeBytes / SECTOR_BYTES;
    const view = new DataView(this.#bytes.buffer);
    const blockSectors = disk.logicalBlockBytes / SECTOR_BYTES;
    const inBlocks = (bytes: number): number => Math.floor(bytes / disk.logicalBlockBytes);
    const physicalExponent = Math.log2(disk.physicalBlockBytes / disk.logicalBlockBytes);
    view.setUint32(ConfigOffset.SIZE_MAX, Limit.SEGMENT_BYTES, true);
    view.setUint32(ConfigOffset.SEG_MAX, Limit.SEGMENTS, true);
    view.setUint32(ConfigOffset.BLK_SIZE, disk.logicalBlockBytes, true);
    view.setUint8(ConfigOffset.PHYSICAL_BLOCK_EXP, physicalExponent);
    view.setUint16(ConfigOffset.MIN_IO_SIZE, Math.min(inBlocks(disk.minIoBytes), 0xffff), true);
    view.setUint32(ConfigOffset.OPT_IO_SIZE, inBlocks(disk.optimalIoBytes), true);
    view.setUint8(ConfigOffset.WRITEBACK, disk.writeBack ? 1 : 0);
    view.setUint16(ConfigOffset.NUM_QUEUES, numQueues, true);
    if (disk.canDiscard) {
      view.setUint32(ConfigOffset.MAX_DISCARD_SECTORS, Limit.RANGE_SECTORS, true);
      view.setUint32(ConfigOffset.MAX_DISCARD_SEG, Limit.RANGES, true);
      view.setUint32(ConfigOffset.DISCARD_SECTOR_ALIGNMENT, blockSectors, true);
    }
    if (disk.canWriteZeroes) {
      view.setUint32(ConfigOffset.MAX_WRITE_ZEROES_SECTORS, Limit.RANGE_SECTORS, true);
      view.setUint32(ConfigOffset.MAX_WRITE_ZEROES_SEG, Limit.RANGES, true);
      view.setUint8(ConfigOffset.WRITE_ZEROES_MAY_UNMAP, 1);
    }
  }

  /** A part of the space; what lies beyond its end reads as zeros. */
  read(offset: number, sizeBytes: number): Uint8Array {
    const part = new Uint8Array(sizeBytes);
    part.set(this.#bytes.subarray(offset, offset + sizeBytes));
    return part;
  }

  /** The `capacity` field. */
  set capacitySectors(sectors: number) {
    const view = new DataView(this.#bytes.buffer);
    view.setBigUint64(ConfigOffset.CAPACITY, BigInt(sectors), true);
  }

  /** The `writeback` field: whether the driver wants the write-back cache. */
  get writeback(): boolean {
    return this.#bytes[ConfigOffset.WRITEBACK] !== 0;
  }

  set writeback(enabled: boolean) {
    this.#bytes[ConfigOffset.WRITEBACK] = enabled ? 1 : 0;
  }

  /**
   * A write by the driver. False, and nothing is changed, unless it is to `writeback` alone with a
   * value of 0 or 1.
   */
  write(offset: number, bytes: Uint8Array): boolean {
    const isLegal = offset === ConfigOffset.WRITEBACK && bytes.length === 1 && bytes[0] <= 1;
    if (isLegal) this.writeback = bytes[0] === 1;
    return isLegal;
  }

  /**
   * Live migration restores the whole space: read-only fields keep what this device has. False if
   * `writeback` is not in it.
   */
  restore(offset: number, bytes: Uint8Array): boolean {
    const saved = bytes[ConfigOffset.WRITEBACK - offset];
    if (saved === undefined) return false;
    this.writeback = saved !== 0;
    return true;
  }
}
