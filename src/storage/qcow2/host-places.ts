/**
 * Where in the image's file clusters can be that tables lead to. Tables of an image that somebody has
 * made for it may lead anywhere: behind the end of the file, or to the header.
 */
import type { Qcow2Header } from './header.ts';
import type { ImageFile } from './image-file.ts';
import { ENTRY_BYTES, type Layout } from './layout.ts';
import type { FileRange } from './snapshot-table.ts';

/** See the module's comment. */
export class HostPlaces {
  readonly #file: ImageFile;
  readonly #clusterBytes: number;
  readonly #l1Start: number;
  readonly #l1End: number;
  /** Of internal snapshots, in order, those that touch as one. */
  #snapshots: FileRange[] = [];
  /** Clusters of L2 tables and of blocks of refcounts, by number, and how many lead to them. */
  readonly #tables = new Map<number, number>();
  #refcountTableStart: number;
  #refcountTableEnd: number;

  constructor(file: ImageFile, header: Qcow2Header, { clusterBytes }: Layout) {
    this.#file = file;
    this.#clusterBytes = clusterBytes;
    this.#l1Start = header.l1Offset;
    this.#l1End = header.l1Offset + header.l1Entries * ENTRY_BYTES;
    this.#refcountTableStart = header.refcountTableOffset;
    this.#refcountTableEnd =
      header.refcountTableOffset + header.refcountTableClusters * clusterBytes;
  }

  moveRefcountTable(offset: number, lengthBytes: number): void {
    this.#refcountTableStart = offset;
    this.#refcountTableEnd = offset + lengthBytes;
  }

  /** The tables of internal snapshots are there. */
  keepSnapshots(ranges: readonly FileRange[]): void {
    const sorted = [...ranges].sort((one, other) => one.start - other.start);
    this.#snapshots = [];
    for (const { start, end } of sorted) {
      const last = this.#snapshots.at(-1);
      if (last === undefined || start > last.end) this.#snapshots.push({ start, end });
      else this.#snapshots.splice(-1, 1, { start: last.start, end: Math.max(end, last.end) });
    }
  }

  /** An L2 table of the disk, or a block of refcounts, is there from now on; 0: nowhere. */
  addTable(offset: number): void {
    const cluster = offset / this.#clusterBytes;
    if (offset > 0) this.#tables.set(cluster, (this.#tables.get(cluster) ?? 0) + 1);
  }

  removeTable(offset: number): void {
    const cluster = offset / this.#clusterBytes;
    const users = this.#tables.get(cluster) ?? 0;
    if (users > 1) this.#tables.set(cluster, users - 1);
    else this.#tables.delete(cluster);
  }

  /** Whether the cluster has any of what describes the image: it is never free, and no data. */
  isMetadata(offset: number): boolean {
    return this.#tables.has(offset / this.#clusterBytes) || this.isTaken(offset);
  }

  /** As `canBeAt`, for a cluster of data. */
  canHoldData(offset: number): boolean {
    return this.canBeAt(offset) && !this.#tables.has(offset / this.#clusterBytes);
  }

  /** Whether the cluster is that of the header, or has some of the tables that cannot move. */
  isTaken(offset: number): boolean {
    const end = offset + this.#clusterBytes;
    return (
      offset < this.#clusterBytes ||
      (offset < this.#l1End && this.#l1Start < end) ||
      (offset < this.#refcountTableEnd && this.#refcountTableStart < end) ||
      (this.#snapshots.length > 0 && this.#hasSnapshots(offset, end))
    );
  }

  #hasSnapshots(start: number, end: number): boolean {
    let low = 0;
    let high = this.#snapshots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#snapshots[middle].end <= start) low = middle + 1;
      else high = middle;
    }
    return low < this.#snapshots.length && this.#snapshots[low].start < end;
  }

  /** Whether a cluster can be there, all of it or, where the file ends, its beginning. */
  canBeAt(offset: number): boolean {
    const isAligned = offset % this.#clusterBytes === 0;
    return isAligned && offset < this.#file.sizeBytes && !this.isTaken(offset);
  }

  /** Whether bytes can be there that are no cluster. */
  canReach(start: number, end: number): boolean {
    const lastCluster = Math.ceil(this.#file.sizeBytes / this.#clusterBytes) * this.#clusterBytes;
    return start >= this.#clusterBytes && end <= lastCluster;
  }
}
