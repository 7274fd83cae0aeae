/**
 * Which clusters of the image's file are free: found by their refcounts, the lowest first; behind the
 * last one the file grows.
 */
import { Errno, SystemError } from '../../sys/index.ts';
import type { Corruption } from './corruption.ts';
import type { HostPlaces } from './host-places.ts';
import type { ImageFile } from './image-file.ts';
import type { Layout } from './layout.ts';
import { RefcountTableGrowth } from './refcount-table-growth.ts';
import type { RefcountBlock, Refcounts } from './refcounts.ts';
import { SerialTasks } from './serial-tasks.ts';

/** The largest host offset that an entry holds, in bytes, and that is a safe integer. */
const MAX_HOST_BYTES = 2 ** 53;

/** Clusters that are somebody's now, one after the other. */
export interface HostRun {
  /** Offset of the first in the image's file. */
  readonly host: number;
  readonly count: number;
  /** They have never been written: they read as zeros. */
  readonly isFresh: boolean;
}

export interface AllocatorParts {
  readonly file: ImageFile;
  readonly layout: Layout;
  readonly places: HostPlaces;
  readonly refcounts: Refcounts;
  readonly corruption: Corruption;
}

/** Told about a cluster, by its offset. */
export type FreeListener = (host: number) => void | Promise<void>;

/** See the module's comment. */
export class Allocator {
  readonly #file: ImageFile;
  readonly #layout: Layout;
  readonly #places: HostPlaces;
  readonly #refcounts: Refcounts;
  readonly #corruption: Corruption;
  readonly #growth: RefcountTableGrowth;
  /** All that looks at counts: a block is good until the next one is asked for. */
  readonly #tasks = new SerialTasks();
  /** No cluster before this one is free, but for those that have been released since. */
  #hint = 0;
  #lowestReleased = Number.POSITIVE_INFINITY;
  /** From this cluster on nothing has ever been written. */
  #freshFrom: number;

  constructor(parts: AllocatorParts) {
    const { file, layout, places, refcounts } = parts;
    this.#corruption = parts.corruption;
    this.#file = file;
    this.#layout = layout;
    this.#places = places;
    this.#refcounts = refcounts;
    this.#growth = new RefcountTableGrowth(file, layout, places, refcounts);
    this.#freshFrom = Math.ceil(file.sizeBytes / layout.clusterBytes);
  }

  /**
   * Take clusters, as many as there are free in one place, at most `wanted`. The file reaches to
   * their end. Rejects with ENOSPC, EIO
   * if a table is there that nobody counts, or what the disk below fails with.
   */
  allocate(wanted: number): Promise<HostRun> {
    return this.#tasks.run(() => this.#allocate(wanted));
  }

  async #allocate(wanted: number): Promise<HostRun> {
    this.#corruption.check();
    const { clusterBytes } = this.#layout;
    const first = await this.#findFree();
    const count = await this.#countFree(first, wanted);
    const host = first * clusterBytes;
    // Before the counts: if there is no room, nothing has changed.
    this.#file.reach(host + count * clusterBytes);
    const block = await this.#refcounts.block(this.#blockOf(first));
    for (let at = 0; at < count; at++) this.#refcounts.set(block, this.#entryOf(first) + at, 1);
    this.#hint = first + count;
    const isFresh = first >= this.#freshFrom;
    this.#freshFrom = Math.max(this.#freshFrom, first + count);
    return { host, count, isFresh };
  }

  #blockOf(cluster: number): number {
    return Math.floor(cluster / this.#layout.refcountsPerBlock);
  }

  #entryOf(cluster: number): number {
    return cluster % this.#layout.refcountsPerBlock;
  }

  async #findFree(): Promise<number> {
    this.#hint = Math.min(this.#hint, this.#lowestReleased);
    this.#lowestReleased = Number.POSITIVE_INFINITY;
    const limit = this.#limit;
    for (let cluster = this.#hint; cluster < limit; this.#hint = cluster) {
      const index = this.#blockOf(cluster);
      if (!this.#refcounts.hasBlock(index)) await this.#addBlock(index);
      const block = await this.#refcounts.block(index);
      const end = Math.min((index + 1) * this.#layout.refcountsPerBlock, limit);
      for (; cluster < end; cluster++) {
        if (this.#refcounts.get(block, this.#entryOf(cluster)) !== 0) continue;
        const host = cluster * this.#layout.clusterBytes;
        if (this.#places.isMetadata(host)) await this.#corruption.foundUncounted(host);
        return cluster;
      }
    }
    if (this.#lowestReleased !== Number.POSITIVE_INFINITY) return this.#findFree();
    throw new SystemError('write', Errno.ENOSPC, 'no cluster is free');
  }

  /** Clusters that the file can have. */
  get #limit(): number {
    return Math.floor(Math.min(this.#file.limitBytes, MAX_HOST_BYTES) / this.#layout.clusterBytes);
  }

  async #countFree(first: number, wanted: number): Promise<number> {
    const block = await this.#refcounts.block(this.#blockOf(first));
    const blockEnd = (this.#blockOf(first) + 1) * this.#layout.refcountsPerBlock;
    const end = Math.min(blockEnd, first + wanted, this.#limit);
    const isFresh = first >= this.#freshFrom;
    let cluster = first + 1;
    // What is fresh and what is not does not go together.
    while (
      cluster < end &&
      this.#isFree(block, cluster) &&
      cluster >= this.#freshFrom === isFresh
    ) {
      cluster += 1;
    }
    return cluster - first;
  }

  #isFree(block: RefcountBlock, cluster: number): boolean {
    return (
      this.#refcounts.get(block, this.#entryOf(cluster)) === 0 &&
      !this.#places.isMetadata(cluster * this.#layout.clusterBytes)
    );
  }

  /** A block describes itself: it is the first of its clusters. */
  async #addBlock(index: number): Promise<void> {
    const { refcountsPerBlock, clusterBytes } = this.#layout;
    if (index >= this.#refcounts.capacity) {
      const old = await this.#growth.grow(index);
      this.#freshFrom = Math.max(this.#freshFrom, old.usedClusters);
      for (let at = 0; at < old.count; at++) await this.#lower(old.host / clusterBytes + at);
      return;
    }
    const cluster = index * refcountsPerBlock;
    const offset = cluster * clusterBytes;
    if (this.#places.isMetadata(offset)) await this.#corruption.foundUncounted(offset);
    this.#file.reach(offset + clusterBytes);
    const block = this.#refcounts.addBlock(index, offset);
    this.#refcounts.set(block, 0, 1);
    this.#freshFrom = Math.max(this.#freshFrom, cluster + 1);
  }

  /**
   * Clusters have a user less. Nothing on the disk may lead to them from that one.
   *
   * @param onFree - called for each that has none now, before anybody else can have it.
   */
  async release(host: number, count: number, onFree?: FreeListener): Promise<void> {
    const { clusterBytes } = this.#layout;
    for (let at = 0; at < count; at++) {
      const cluster = host / clusterBytes + at;
      if (onFree !== undefined) {
        const users = await this.#tasks.run(() => this.#users(cluster));
        // Others may be allocated meanwhile; this one has its user still.
        if (users === 1) await onFree(cluster * clusterBytes);
      }
      await this.#tasks.run(() => this.#lower(cluster));
    }
  }

  async #users(cluster: number): Promise<number> {
    const index = this.#blockOf(cluster);
    if (!this.#refcounts.hasBlock(index)) return 0;
    const block = await this.#refcounts.block(index);
    return this.#refcounts.get(block, this.#entryOf(cluster));
  }

  async #lower(cluster: number): Promise<void> {
    const users = await this.#users(cluster);
    // Counts that were wrong before are not made worse.
    if (users === 0) return;
    const block = await this.#refcounts.block(this.#blockOf(cluster));
    this.#refcounts.set(block, this.#entryOf(cluster), users - 1);
    if (users === 1) this.#lowestReleased = Math.min(this.#lowestReleased, cluster);
  }
}
