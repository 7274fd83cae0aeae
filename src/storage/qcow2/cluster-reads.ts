/** Reads of a qcow2 disk that take more than to pass a request on: into a buffer, cluster by cluster. */
import { Errno, SystemError } from '../../sys/index.ts';
import type { BackingContent } from './backing-content.ts';
import type { CompressedClusters } from './compressed-clusters.ts';
import type { HostPlaces } from './host-places.ts';
import type { ImageFile } from './image-file.ts';
import { type Cluster, decodeEntry } from './l2-entry.ts';
import type { L2Tables } from './l2-tables.ts';
import type { Layout } from './layout.ts';
import type { MappingCache } from './mapping-cache.ts';

export interface ClusterReadParts {
  readonly file: ImageFile;
  readonly layout: Layout;
  readonly places: HostPlaces;
  readonly cache: MappingCache;
  readonly tables: L2Tables;
  readonly compressed: CompressedClusters;
  readonly backing: BackingContent;
}

type Settled = void | Promise<void>;

const UNALLOCATED: Cluster = { kind: 'unallocated' };

/** See the module's comment. */
export class ClusterReads {
  readonly #parts: ClusterReadParts;

  constructor(parts: ClusterReadParts) {
    this.#parts = parts;
  }

  /** What the entry at a place of the cache says, checked. Throws a SystemError EIO. */
  cluster(place: number): Cluster {
    const { cache, layout, places } = this.#parts;
    const cluster = decodeEntry(cache.words[2 * place], cache.words[2 * place + 1], layout);
    const isWrong =
      (cluster.kind === 'data' && !places.canHoldData(cluster.host)) ||
      (cluster.kind === 'zero' && cluster.host !== 0 && !places.canHoldData(cluster.host)) ||
      (cluster.kind === 'zero' && layout.version === 2) ||
      (cluster.kind === 'compressed' && !places.canReach(cluster.start, cluster.end));
    if (isWrong) throw new SystemError('L2 entry', Errno.EIO, 'it is wrong: qemu-img check');
    return cluster;
  }

  /** Where a cluster of the disk is. Nobody moves it meanwhile. @param number - of the cluster. */
  async find(number: number): Promise<Cluster> {
    const { cache, layout, tables } = this.#parts;
    const slice = Math.floor(number / layout.entriesPerSlice);
    if (!tables.hasTable(slice)) return UNALLOCATED;
    const slot = await tables.pin(slice);
    try {
      return this.cluster(cache.place(slot, number % layout.entriesPerSlice));
    } finally {
      cache.unpin(slot);
    }
  }

  /** Fill the buffer with what is at `offset`. Nobody moves the clusters meanwhile. */
  async read(buffer: Uint8Array, offset: number): Promise<void> {
    const { clusterBytes } = this.#parts.layout;
    const pending: Promise<void>[] = [];
    try {
      for (let done = 0; done < buffer.length; ) {
        const cluster = Math.floor((offset + done) / clusterBytes);
        const within = (offset + done) % clusterBytes;
        const bytes = Math.min(buffer.length - done, clusterBytes - within);
        const found = await this.find(cluster);
        const part = buffer.subarray(done, done + bytes);
        const settled = this.readPart(found, part, offset + done, within);
        if (settled !== undefined) pending.push(settled);
        done += bytes;
      }
    } finally {
      // Nothing may be written to the buffer when its owner has it back.
      await Promise.allSettled(pending);
    }
    await Promise.all(pending);
  }

  /**
   * Fill the buffer with a part of one cluster.
   *
   * @param offset - of the part in the disk; `within`: in the cluster.
   */
  readPart(cluster: Cluster, part: Uint8Array, offset: number, within: number): Settled {
    const { backing, compressed, file } = this.#parts;
    switch (cluster.kind) {
      case 'zero':
        part.fill(0);
        return undefined;
      case 'unallocated':
        return backing.read(part, offset);
      case 'data':
        return file.read(part, cluster.host + within);
      case 'compressed':
        return compressed.read(cluster).then((content) => {
          part.set(content.subarray(within, within + part.length));
        });
    }
  }

  /** Whether a cluster of that kind is known to be zeros. @param offset - of it in the disk. */
  isZeros(cluster: Cluster, offset: number): boolean {
    if (cluster.kind === 'zero') return true;
    return cluster.kind === 'unallocated' && offset >= this.#parts.backing.sizeBytes;
  }
}
