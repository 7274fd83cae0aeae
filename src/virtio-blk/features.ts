/** Which features a block device offers for a disk, and what the negotiated ones mean. */
import type { DiskInfo } from '../storage/index.ts';
import { RingFeature } from '../virtqueue/index.ts';
import { BlockFeature } from './constants.ts';

/** A set of feature bits. */
export function featureSet(...bits: readonly number[]): bigint {
  return bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
}

/** Whether a set has a bit. */
export function hasFeature(set: bigint, bit: number): boolean {
  return (set & (1n << BigInt(bit))) !== 0n;
}

/** Virtio feature bits to offer. */
export function offeredFeatures(disk: DiskInfo): bigint {
  const bits: number[] = [
    RingFeature.VERSION_1,
    RingFeature.INDIRECT_DESC,
    RingFeature.EVENT_IDX,
    RingFeature.RING_PACKED,
    BlockFeature.SIZE_MAX,
    BlockFeature.SEG_MAX,
    BlockFeature.BLK_SIZE,
    BlockFeature.FLUSH,
    BlockFeature.TOPOLOGY,
    BlockFeature.CONFIG_WCE,
    BlockFeature.MQ,
  ];
  if (disk.readOnly) bits.push(BlockFeature.RO);
  if (disk.canDiscard) bits.push(BlockFeature.DISCARD);
  if (disk.canWriteZeroes) bits.push(BlockFeature.WRITE_ZEROES);
  return featureSet(...bits);
}

/** Whether writes may complete before they are stable. */
export type CachePolicy = 'always' | 'never' | 'as-field-says';

/**
 * The negotiated features' cache policy (5.2.6.2): the `writeback` field decides if the driver
 * negotiated it; without it, only a driver that can flush can live with a cache.
 */
export function cachePolicy(features: bigint): CachePolicy {
  if (!hasFeature(features, BlockFeature.FLUSH)) return 'never';
  return hasFeature(features, BlockFeature.CONFIG_WCE) ? 'as-field-says' : 'always';
}
