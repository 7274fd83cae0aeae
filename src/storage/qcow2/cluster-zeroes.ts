/**
 * Discards and zeroes of a qcow2 disk: by entries, where whole clusters are concerned. Whoever calls
 * has the clusters for himself (`ClusterGate.move`).
 *
 * What is discarded reads as zeros then, as with QEMU; but in images of version 2, which cannot say
 * so, as what the backing disk has.
 */
import { Errno, SystemError } from '../../sys/index.ts';
import type { ClusterReads } from './cluster-reads.ts';
import type { ClusterWrites } from './cluster-writes.ts';
import { type Cluster, EntryBit, ZERO_BIT } from './l2-entry.ts';
import type { L2Tables } from './l2-tables.ts';
import type { Layout } from './layout.ts';
import type { MappingCache } from './mapping-cache.ts';

/** Zeros are written in pieces of at most this size. */
const PIECE_BYTES = 2 ** 20;

/** How zeroes are asked for; see `DiskFlag`. */
export interface ZeroOptions {
  readonly mayUnmap: boolean;
  readonly mustBeFast: boolean;
}

export interface ClusterZeroParts {
  readonly layout: Layout;
  readonly cache: MappingCache;
  readonly tables: L2Tables;
  readonly reads: ClusterReads;
  readonly writes: ClusterWrites;
  /** Size of the backing disk; 0: none. */
  readonly backingBytes: number;
}

/** Changes an entry, or leaves it as it is. */
type Change = (slot: number, entry: number, before: Cluster, offset: number) => void;

/** See the module's comment. */
export class ClusterZeroes {
  readonly #parts: ClusterZeroParts;

  constructor(parts: ClusterZeroParts) {
    this.#parts = parts;
  }

  /** Parts of clusters stay as they are. */
  async discard(offset: number, length: number): Promise<void> {
    const { first, end } = this.#wholeClusters(offset, length);
    await this.#change(first, end, (slot, entry, before, at) =>
      this.#drop(slot, entry, before, at),
    );
  }

  async zero(offset: number, length: number, options: ZeroOptions): Promise<void> {
    const { clusterBytes, sizeBytes, version } = this.#parts.layout;
    const { first, end } = this.#wholeClusters(offset, length);
    // Version 2 has no zero clusters: those that the backing disk would show through are written.
    const hidden = Math.ceil(this.#parts.backingBytes / clusterBytes);
    const from = version === 2 ? Math.min(end, Math.max(first, hidden)) : first;
    const start = Math.min(offset + length, from * clusterBytes);
    if (first >= end) {
      await this.#writeZeros(offset, offset + length, options);
      return;
    }
    await this.#writeZeros(offset, start, options);
    await this.#change(from, end, (slot, entry, before, at) => {
      if (version === 2 || options.mayUnmap) this.#drop(slot, entry, before, at);
      else this.#blank(slot, entry, before, at);
    });
    await this.#writeZeros(Math.min(sizeBytes, end * clusterBytes), offset + length, options);
  }

  /** From `first` up to, but not including, `end`; the disk's last cluster ends with the disk. */
  #wholeClusters(offset: number, length: number): { first: number; end: number } {
    const { clusterBytes, clusterCount, sizeBytes } = this.#parts.layout;
    const first = Math.ceil(offset / clusterBytes);
    const end =
      offset + length >= sizeBytes ? clusterCount : Math.floor((offset + length) / clusterBytes);
    return { first, end: Math.max(first, end) };
  }

  async #change(first: number, end: number, change: Change): Promise<void> {
    const { cache, layout, reads, tables } = this.#parts;
    const { clusterBytes, entriesPerSlice } = layout;
    for (let cluster = first; cluster < end; ) {
      const slice = Math.floor(cluster / entriesPerSlice);
      const sliceEnd = Math.min(end, (slice + 1) * entriesPerSlice);
      const isEmpty = cluster * clusterBytes >= this.#parts.backingBytes && !tables.hasTable(slice);
      if (isEmpty) {
        cluster = sliceEnd;
        continue;
      }
      const slot = await tables.pinWritable(slice);
      try {
        for (; cluster < sliceEnd; cluster++) {
          const entry = cluster % entriesPerSlice;
          const before = reads.cluster(cache.place(slot, entry));
          change(slot, entry, before, cluster * clusterBytes);
        }
      } finally {
        cache.unpin(slot);
      }
    }
  }

  /** Have a cluster be nowhere; it reads as zeros as far as the version can say so. */
  #drop(slot: number, entry: number, before: Cluster, offset: number): void {
    const { cache, layout, reads, writes } = this.#parts;
    const hasHost = before.kind !== 'unallocated' && (before.kind !== 'zero' || before.host !== 0);
    if (!hasHost && (reads.isZeros(before, offset) || layout.version === 2)) return;
    cache.set(slot, entry, 0, layout.version === 2 ? 0 : ZERO_BIT);
    writes.letGo(before);
  }

  /** Have a cluster read as zeros, and keep its place if it has one of its own. */
  #blank(slot: number, entry: number, before: Cluster, offset: number): void {
    if (this.#parts.reads.isZeros(before, offset)) return;
    if (before.kind === 'data' && before.isCopied) {
      const high = (before.host / 2 ** 32) | EntryBit.COPIED;
      this.#parts.cache.set(slot, entry, high, before.host | ZERO_BIT);
    } else this.#drop(slot, entry, before, offset);
  }

  async #writeZeros(start: number, end: number, options: ZeroOptions): Promise<void> {
    const { clusterBytes } = this.#parts.layout;
    if (start >= end) return;
    if (options.mustBeFast && end - start >= clusterBytes) {
      throw new SystemError('writeZeroes', Errno.EOPNOTSUPP);
    }
    const zeros = Buffer.alloc(Math.min(end - start, PIECE_BYTES));
    for (let at = start; at < end; at += zeros.length) {
      await this.#writePiece(zeros.subarray(0, Math.min(zeros.length, end - at)), at);
    }
  }

  /** Where nothing but zeros is, there is nothing to do. */
  async #writePiece(zeros: Uint8Array, offset: number): Promise<void> {
    const { layout, reads, writes } = this.#parts;
    const { clusterBytes } = layout;
    for (let done = 0; done < zeros.length; ) {
      const cluster = Math.floor((offset + done) / clusterBytes);
      const end = Math.min(zeros.length, (cluster + 1) * clusterBytes - offset);
      const isZeros = reads.isZeros(await reads.find(cluster), cluster * clusterBytes);
      if (!isZeros) await writes.write(zeros.subarray(done, end), offset + done);
      done = end;
    }
  }
}
