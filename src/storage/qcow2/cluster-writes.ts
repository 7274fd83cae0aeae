/**
 * Writes to a qcow2 disk that need clusters: where there is none, or one that others use, too. What is
 * not written of a new cluster is what was there before. An entry changes when the data is written.
 *
 * Whoever calls has the disk's clusters for himself (`ClusterGate.move`).
 */
import type { Allocator, HostRun } from './allocator.ts';
import type { ClusterReads } from './cluster-reads.ts';
import type { CompressedClusters } from './compressed-clusters.ts';
import type { FreeList } from './free-list.ts';
import type { ImageFile } from './image-file.ts';
import { type Cluster, EntryBit } from './l2-entry.ts';
import type { L2Tables } from './l2-tables.ts';
import type { Layout } from './layout.ts';
import type { MappingCache } from './mapping-cache.ts';

/** Clusters that are written, and moved if need be, at once. */
const MAX_RUN_BYTES = 2 ** 20;

export interface ClusterWriteParts {
  readonly file: ImageFile;
  readonly layout: Layout;
  readonly cache: MappingCache;
  readonly tables: L2Tables;
  readonly allocator: Allocator;
  readonly freed: FreeList;
  readonly reads: ClusterReads;
  readonly compressed: CompressedClusters;
}

/** See the module's comment. */
export class ClusterWrites {
  readonly #parts: ClusterWriteParts;

  constructor(parts: ClusterWriteParts) {
    this.#parts = parts;
  }

  async write(data: Uint8Array, offset: number): Promise<void> {
    const { cache, layout, tables } = this.#parts;
    const sliceSpan = layout.entriesPerSlice * layout.clusterBytes;
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const slice = Math.floor(at / sliceSpan);
      const end = Math.min(data.length, done + (slice + 1) * sliceSpan - at);
      const slot = await tables.pinWritable(slice);
      try {
        await this.#writeInSlice(slot, slice, data.subarray(done, end), at);
      } finally {
        cache.unpin(slot);
      }
      done = end;
    }
  }

  async #writeInSlice(
    slot: number,
    slice: number,
    data: Uint8Array,
    offset: number,
  ): Promise<void> {
    const { clusterBytes, entriesPerSlice } = this.#parts.layout;
    const base = slice * entriesPerSlice;
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const first = Math.floor(at / clusterBytes);
      const last = Math.floor((offset + data.length - 1) / clusterBytes);
      const clusters = this.#alike(slot, first - base, last - base);
      const end = Math.min(data.length, done + (first + clusters.length) * clusterBytes - at);
      const count = await this.#writeRun(
        { slot, entry: first - base, first, clusters },
        data.subarray(done, end),
        at,
      );
      done = Math.min(data.length, done + (first + count) * clusterBytes - at);
    }
  }

  /** Clusters from an entry on that can be written together: in place, or all to new ones. */
  #alike(slot: number, entry: number, lastEntry: number): Cluster[] {
    const { cache, layout, reads } = this.#parts;
    const end = Math.min(lastEntry, entry + Math.floor(MAX_RUN_BYTES / layout.clusterBytes) - 1);
    const first = reads.cluster(cache.place(slot, entry));
    const found = [first];
    for (let at = entry + 1; at <= end; at++) {
      const next = reads.cluster(cache.place(slot, at));
      const own = ownHost(first);
      const isAlike =
        own === 0
          ? ownHost(next) === 0
          : isInPlace(first) &&
            isInPlace(next) &&
            ownHost(next) === own + found.length * layout.clusterBytes;
      if (!isAlike) break;
      found.push(next);
    }
    return found;
  }

  /** Write to clusters that are alike; how many of them that was. */
  async #writeRun(run: Run, data: Uint8Array, offset: number): Promise<number> {
    const { allocator, file, layout } = this.#parts;
    const { clusterBytes } = layout;
    const [cluster] = run.clusters;
    const own = ownHost(cluster);
    if (own !== 0) file.reach(own + run.clusters.length * clusterBytes);
    if (isInPlace(cluster)) {
      await file.write(data, own + (offset % clusterBytes));
      return run.clusters.length;
    }
    if (own !== 0) {
      // It has a cluster of its own, which is to be zeros: nothing in it counts.
      await this.#fill(run, { host: own, count: 1, isFresh: false }, data, offset);
      return 1;
    }
    const taken = await allocator.allocate(run.clusters.length);
    const bytes = Math.min(data.length, taken.count * clusterBytes - (offset % clusterBytes));
    try {
      await this.#fill(run, taken, data.subarray(0, bytes), offset);
    } catch (error) {
      await allocator.release(taken.host, taken.count);
      throw error;
    }
    return taken.count;
  }

  /** Have host clusters hold the data, and around it what was there before; then use them. */
  async #fill(run: Run, taken: HostRun, data: Uint8Array, offset: number): Promise<void> {
    const { file, layout } = this.#parts;
    const { clusterBytes } = layout;
    const head = offset % clusterBytes;
    const tail = taken.count * clusterBytes - head - data.length;
    if (taken.isFresh && this.#isZeroAround(run, taken.count, head, tail)) {
      await file.write(data, taken.host + head);
    } else {
      const bytes = Buffer.allocUnsafe(taken.count * clusterBytes);
      bytes.set(data, head);
      const end = head + data.length;
      await this.#readBefore(run, 0, bytes.subarray(0, head), 0);
      const tailStart = end % clusterBytes;
      await this.#readBefore(run, taken.count - 1, bytes.subarray(end), tailStart);
      await file.write(bytes, taken.host);
    }
    for (let at = 0; at < taken.count; at++) {
      this.use(run.slot, run.entry + at, taken.host + at * clusterBytes, run.clusters[at]);
    }
  }

  #isZeroAround(run: Run, count: number, head: number, tail: number): boolean {
    const { clusterBytes } = this.#parts.layout;
    const isZeros = (index: number): boolean =>
      this.#parts.reads.isZeros(run.clusters[index], (run.first + index) * clusterBytes);
    return (head === 0 || isZeros(0)) && (tail === 0 || isZeros(count - 1));
  }

  /** What has been in a cluster, from `within` on. */
  async #readBefore(run: Run, index: number, part: Uint8Array, within: number): Promise<void> {
    if (part.length === 0) return;
    const { layout, reads } = this.#parts;
    const offset = (run.first + index) * layout.clusterBytes + within;
    await reads.readPart(run.clusters[index], part, offset, within);
  }

  /** Have an entry lead to a host cluster of its own; what it led to before loses a user. */
  use(slot: number, entry: number, host: number, before: Cluster): void {
    const high = (host / 2 ** 32) | EntryBit.COPIED;
    this.#parts.cache.set(slot, entry, high, host | 0);
    if (ownHost(before) !== host) this.letGo(before);
  }

  /** A cluster of the disk does not use any more what it was in. */
  letGo(before: Cluster): void {
    const { compressed, freed } = this.#parts;
    if (before.kind === 'compressed') {
      compressed.forget(before);
      freed.addBytes(before.start, before.end);
    } else if (before.kind !== 'unallocated' && before.host !== 0) freed.add(before.host);
  }
}

/** Clusters of a slice, one after the other. */
interface Run {
  readonly slot: number;
  /** Of the first, in the slice. */
  readonly entry: number;
  /** Number of the first. */
  readonly first: number;
  readonly clusters: readonly Cluster[];
}

/** The host cluster that is a cluster's alone; 0: none. */
function ownHost(cluster: Cluster): number {
  if (cluster.kind === 'unallocated' || cluster.kind === 'compressed') return 0;
  return cluster.isCopied ? cluster.host : 0;
}

function isInPlace(cluster: Cluster): boolean {
  return cluster.kind === 'data' && cluster.isCopied;
}
