/** Reads compressed clusters, and keeps the last of them: neighbouring requests need the same. */
import { Errno, SystemError } from '../../sys/index.ts';
import { decompressCluster } from './decompress.ts';
import type { Compression } from './header.ts';
import type { HostPlaces } from './host-places.ts';
import type { ImageFile } from './image-file.ts';
import type { CompressedCluster } from './l2-entry.ts';
import type { Layout } from './layout.ts';

/** Memory for decompressed clusters; at least so many are kept. */
const CACHE_BYTES = 4 * 2 ** 20;
const MIN_CLUSTERS = 2;

/** See the module's comment. */
export class CompressedClusters {
  readonly #file: ImageFile;
  readonly #layout: Layout;
  readonly #places: HostPlaces;
  readonly #compression: Compression;
  readonly #maxClusters: number;
  /** By the offset of its first byte, in the order of their last use. */
  readonly #known = new Map<number, Promise<Uint8Array>>();

  constructor(file: ImageFile, layout: Layout, places: HostPlaces, compression: Compression) {
    this.#file = file;
    this.#layout = layout;
    this.#places = places;
    this.#compression = compression;
    this.#maxClusters = Math.max(MIN_CLUSTERS, Math.floor(CACHE_BYTES / layout.clusterBytes));
  }

  /** The cluster's content; not to be changed. Rejects with EIO if it makes no sense. */
  read(cluster: CompressedCluster): Promise<Uint8Array> {
    const { start } = cluster;
    const content = this.#known.get(start) ?? this.#decompress(cluster);
    this.#known.delete(start);
    this.#known.set(start, content);
    const [oldest] = this.#known.keys();
    if (this.#known.size > this.#maxClusters) this.#known.delete(oldest);
    content.catch(() => this.#known.delete(start));
    return content;
  }

  async #decompress({ start, end }: CompressedCluster): Promise<Uint8Array> {
    if (!this.#places.canReach(start, end)) {
      throw new SystemError('L2 entry', Errno.EIO, `compressed cluster at ${start}`);
    }
    const { blockBytes } = this.#file;
    const first = Math.floor(start / blockBytes) * blockBytes;
    const bytes = Buffer.alloc(Math.ceil((end - first) / blockBytes) * blockBytes);
    await this.#file.read(bytes, first);
    const compressed = bytes.subarray(start - first, end - first);
    return decompressCluster(compressed, this.#layout.clusterBytes, this.#compression);
  }

  /** What is at its place may be something else from now on. */
  forget({ start }: CompressedCluster): void {
    this.#known.delete(start);
  }
}
