/** Sizes of a qcow2 image's parts, which follow from its header. */
import type { Qcow2Header } from './header.ts';

/**
 * Bytes of an L2 table that are read and kept at a time: all of it for clusters up to this size. One
 * says where 512 MiB of a disk with clusters of 64 KiB are.
 */
const MAX_SLICE_BYTES = 65536;
export const ENTRY_BYTES = 8;

/** See the module's comment. A slice is a part of an L2 table, or all of it. */
export class Layout {
  readonly version: 2 | 3;
  readonly sizeBytes: number;
  readonly clusterBits: number;
  readonly clusterBytes: number;
  /** Clusters of the disk; the last may reach beyond its end. */
  readonly clusterCount: number;
  readonly entriesPerTable: number;
  readonly entriesPerSlice: number;
  readonly sliceBytes: number;
  readonly slicesPerTable: number;
  readonly sliceCount: number;
  /** Entries of the L1 table that are used. */
  readonly tableCount: number;
  readonly refcountOrder: number;
  readonly refcountsPerBlock: number;

  constructor(header: Qcow2Header) {
    this.version = header.version;
    this.sizeBytes = header.sizeBytes;
    this.clusterBits = header.clusterBits;
    this.clusterBytes = 2 ** header.clusterBits;
    this.clusterCount = Math.ceil(header.sizeBytes / this.clusterBytes);
    this.entriesPerTable = this.clusterBytes / ENTRY_BYTES;
    this.sliceBytes = Math.min(this.clusterBytes, MAX_SLICE_BYTES);
    this.entriesPerSlice = this.sliceBytes / ENTRY_BYTES;
    this.slicesPerTable = this.clusterBytes / this.sliceBytes;
    this.sliceCount = Math.ceil(this.clusterCount / this.entriesPerSlice);
    this.tableCount = Math.ceil(this.clusterCount / this.entriesPerTable);
    this.refcountOrder = header.refcountOrder;
    this.refcountsPerBlock = (this.clusterBytes * 8) / 2 ** header.refcountOrder;
  }
}
