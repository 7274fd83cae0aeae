/**
 * What the data path knows of clusters of the disk, a byte for each entry that is kept. Entries are
 * looked at once, when they are first met, or met again after a change.
 */
import type { HostPlaces } from './host-places.ts';
import { EntryBit, hostOffset, ZERO_BIT } from './l2-entry.ts';
import type { Layout } from './layout.ts';
import type { MappingCache } from './mapping-cache.ts';

/** Bits of a state. Not of those below, nor known: somebody has to look closer. */
export const ClusterState = {
  KNOWN: 1,
  /** Its bytes are in one host cluster, all of it in the file. */
  DATA: 2,
  /** DATA that may be written where it is. */
  WRITABLE: 4,
  /** Reads as zeros. */
  ZEROS: 8,
  /** Is in the backing disk, as far as it is of the disk at all. */
  BACKING: 16,
} as const;

/** See the module's comment. */
export class ClusterStates {
  readonly #layout: Layout;
  readonly #cache: MappingCache;
  readonly #places: HostPlaces;
  readonly #backingBytes: number;

  /** @param backingBytes - size of the backing disk; 0: none. */
  constructor(layout: Layout, cache: MappingCache, places: HostPlaces, backingBytes: number) {
    this.#layout = layout;
    this.#cache = cache;
    this.#places = places;
    this.#backingBytes = backingBytes;
  }

  /** The state of an entry that nothing is known of. @param cluster - of the disk. */
  learn(place: number, cluster: number): number {
    const { words, states } = this.#cache;
    const state = this.#stateOf(words[2 * place], words[2 * place + 1], cluster);
    states[place] = state | ClusterState.KNOWN;
    return states[place];
  }

  #stateOf(high: number, low: number, cluster: number): number {
    if ((high & EntryBit.COMPRESSED) !== 0) return 0;
    const host = hostOffset(high, low);
    if ((low & ZERO_BIT) !== 0) return this.#layout.version === 2 ? 0 : ClusterState.ZEROS;
    if (host === 0) return this.unallocated(cluster);
    if (!this.#places.canHoldData(host)) return 0;
    const isCopied = (high & EntryBit.COPIED) !== 0;
    return ClusterState.DATA | (isCopied ? ClusterState.WRITABLE : 0);
  }

  /** The state of a cluster of the disk that is nowhere in the file. */
  unallocated(cluster: number): number {
    const start = cluster * this.#layout.clusterBytes;
    if (start >= this.#backingBytes) return ClusterState.ZEROS;
    const end = Math.min(start + this.#layout.clusterBytes, this.#layout.sizeBytes);
    return end <= this.#backingBytes ? ClusterState.BACKING : 0;
  }
}
