/**
 * Entries of L2 tables: where a cluster of the disk is. Two words, the more significant one first;
 * meanings by QEMU's docs/interop/qcow2, "L1 tables, L2 tables".
 */
import type { Layout } from './layout.ts';

/** Bits of the first word. */
export const EntryBit = {
  /** The host cluster has one user: it may be written in place. The sign of an Int32. */
  COPIED: 0x80000000 | 0,
  COMPRESSED: 0x40000000,
} as const;
/** Of the second word: the cluster reads as zeros. Since version 3. */
export const ZERO_BIT = 1;
const OFFSET_HIGH_MASK = 0x00ffffff;
const OFFSET_LOW_MASK = ~511;
const SECTOR_BYTES = 512;

/** What an entry says. Offsets in bytes of the image's file. */
export type Cluster =
  | { readonly kind: 'unallocated' }
  /** `host`: the cluster that is kept for it; 0: none. */
  | { readonly kind: 'zero'; readonly host: number; readonly isCopied: boolean }
  | { readonly kind: 'data'; readonly host: number; readonly isCopied: boolean }
  | CompressedCluster;

export interface CompressedCluster {
  readonly kind: 'compressed';
  /** Its first byte. */
  readonly start: number;
  /** Behind the last sector that has some of it. */
  readonly end: number;
}

/** The host cluster of an entry that is not compressed; 0: none. */
export function hostOffset(high: number, low: number): number {
  return (high & OFFSET_HIGH_MASK) * 2 ** 32 + ((low & OFFSET_LOW_MASK) >>> 0);
}

/** What the two words of an entry say. Nothing of it is checked against the image. */
export function decodeEntry(high: number, low: number, layout: Layout): Cluster {
  if ((high & EntryBit.COMPRESSED) !== 0) return decodeCompressed(high, low, layout);
  const host = hostOffset(high, low);
  const isCopied = (high & EntryBit.COPIED) !== 0;
  if ((low & ZERO_BIT) !== 0) return { kind: 'zero', host, isCopied };
  return host === 0 ? { kind: 'unallocated' } : { kind: 'data', host, isCopied };
}

/**
 * "Compressed Clusters Descriptor": below bit 62 - (cluster_bits - 8) the offset, from there on the
 * number of sectors after the one it is in.
 */
function decodeCompressed(high: number, low: number, layout: Layout): CompressedCluster {
  const sectorBits = layout.clusterBits - 8;
  const shift = 30 - sectorBits;
  const sectors = (high & 0x3fffffff) >>> shift;
  const start = (high & (2 ** shift - 1)) * 2 ** 32 + (low >>> 0);
  const firstSector = Math.floor(start / SECTOR_BYTES);
  return { kind: 'compressed', start, end: (firstSector + sectors + 1) * SECTOR_BYTES };
}
