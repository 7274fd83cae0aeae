/** An open qcow2 image: its tables, and what requests need beyond the data path. One for all queues. */
import type { DiskAccess } from '../access/disk-access.ts';
import type { Disk } from '../disk.ts';
import { Allocator } from './allocator.ts';
import { BackingContent } from './backing-content.ts';
import { nameOf } from './backing-file.ts';
import { ClusterGate } from './cluster-gate.ts';
import { ClusterReads } from './cluster-reads.ts';
import { ClusterStates } from './cluster-states.ts';
import { ClusterWrites } from './cluster-writes.ts';
import { ClusterZeroes, type ZeroOptions } from './cluster-zeroes.ts';
import { CompressedClusters } from './compressed-clusters.ts';
import { Corruption } from './corruption.ts';
import { FreeList } from './free-list.ts';
import { HEADER_START_BYTES, HeaderField, type Qcow2Header } from './header.ts';
import { HostPlaces } from './host-places.ts';
import { ImageFile } from './image-file.ts';
import { ImageLog } from './image-log.ts';
import { L1Table } from './l1-table.ts';
import { L2Tables } from './l2-tables.ts';
import { Layout } from './layout.ts';
import { MappingCache } from './mapping-cache.ts';
import { Refcounts } from './refcounts.ts';
import { SliceLoads } from './slice-loads.ts';
import { snapshotRanges } from './snapshot-table.ts';
import type { TableMode } from './table-mode.ts';
import { WriteBack } from './write-back.ts';

/** Ranges that wait to be free: more are not remembered, but written back first. */
const MAX_FREED_RANGES = 16_384;

/** What is below an image. */
export interface ImageDisks {
  readonly lower: Disk;
  readonly access: DiskAccess;
  readonly backing: DiskAccess | undefined;
}

/** How an image is used. */
export interface ImageOptions {
  /** Memory for entries of L2 tables, in bytes; default: 32 MiB. */
  readonly cacheBytes?: number;
  /** Default: `write-back`. */
  readonly tables?: TableMode;
}

/** See the module's comment. Methods reject with a SystemError. */
export class Qcow2Image {
  readonly layout: Layout;
  readonly file: ImageFile;
  readonly cache: MappingCache;
  readonly states: ClusterStates;
  readonly gate = new ClusterGate();
  readonly log: ImageLog;
  readonly tableMode: TableMode;
  readonly tables: L2Tables;
  readonly #backing: BackingContent;
  readonly #corruption: Corruption;
  readonly #freed: FreeList;
  readonly #writeBack: WriteBack;
  readonly #reads: ClusterReads;
  readonly #writes: ClusterWrites;
  readonly #zeroes: ClusterZeroes;

  /** Read what has to be known of an image before its first request. */
  static async open(
    disks: ImageDisks,
    header: Qcow2Header,
    options: ImageOptions = {},
  ): Promise<Qcow2Image> {
    const layout = new Layout(header);
    const file = new ImageFile(disks.lower, disks.access);
    const places = new HostPlaces(file, header, layout);
    const name = nameOf(disks.lower);
    if (!file.readOnly) places.keepSnapshots(await snapshotRanges(file, header, name));
    const l1 = await L1Table.read(file, header, places);
    const refcounts = await Refcounts.read(file, header, layout, places);
    if (header.hasAutoclear && !file.readOnly) await clearAutoclear(file);
    const log = new ImageLog(name);
    const parts = { layout, file, places, l1, refcounts, options, log };
    return new Qcow2Image(disks, header, parts);
  }

  private constructor(
    disks: ImageDisks,
    header: Qcow2Header,
    parts: {
      readonly layout: Layout;
      readonly file: ImageFile;
      readonly places: HostPlaces;
      readonly l1: L1Table;
      readonly refcounts: Refcounts;
      readonly options: ImageOptions;
      readonly log: ImageLog;
    },
  ) {
    const { layout, file, places, l1, refcounts, options } = parts;
    this.layout = layout;
    this.log = parts.log;
    this.file = file;
    this.tableMode = options.tables ?? 'write-back';
    const cache = new MappingCache(layout, file.blockBytes, options.cacheBytes);
    const corruption = new Corruption(file, layout, parts.log);
    const freed = new FreeList(layout.clusterBytes);
    const allocator = new Allocator({ file, layout, places, refcounts, corruption });
    const backing = new BackingContent(disks.backing);
    const backingBytes = backing.sizeBytes;
    const writeBack = new WriteBack({
      ...{ file, layout, l1, cache, refcounts, allocator, freed },
      log: this.log,
    });
    const makeRoom = (): Promise<void> => writeBack.run();
    const loads = new SliceLoads({ file, layout, l1, cache, makeRoom });
    const tables = new L2Tables({ file, layout, l1, allocator, freed, loads });
    const compressed = new CompressedClusters(file, layout, places, header.compression);
    const reads = new ClusterReads({ file, layout, places, cache, tables, compressed, backing });
    const common = { file, layout, cache, tables, reads };
    const writes = new ClusterWrites({ ...common, allocator, freed, compressed });
    this.cache = cache;
    this.tables = tables;
    this.states = new ClusterStates(layout, cache, places, backingBytes);
    this.#backing = backing;
    this.#corruption = corruption;
    this.#freed = freed;
    this.#writeBack = writeBack;
    this.#reads = reads;
    this.#writes = writes;
    this.#zeroes = new ClusterZeroes({ ...common, writes, backingBytes });
  }

  /** Whether changes of tables are not in the disk below yet. */
  get hasUnwritten(): boolean {
    return this.#writeBack.isNeeded;
  }

  /** Whether a flush takes more than one of the disk below. */
  get needsFlush(): boolean {
    return !this.#writeBack.isSafe;
  }

  /** Nothing may be changed any more: requests that do fail with EIO. */
  get isDamaged(): boolean {
    return this.#corruption.isFound;
  }

  async read(buffer: Uint8Array, offset: number): Promise<void> {
    const { first, last } = this.#clusters(offset, buffer.length);
    await this.gate.enter(first, last);
    try {
      await this.#reads.read(buffer, offset);
    } finally {
      this.gate.leave(first, last);
    }
  }

  write(data: Uint8Array, offset: number): Promise<void> {
    return this.#move(offset, data.length, () => this.#writes.write(data, offset));
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#move(offset, length, () => this.#zeroes.discard(offset, length));
  }

  zero(offset: number, length: number, options: ZeroOptions): Promise<void> {
    return this.#move(offset, length, () => this.#zeroes.zero(offset, length, options));
  }

  async #move(offset: number, length: number, task: () => Promise<void>): Promise<void> {
    this.#corruption.check();
    const { first, last } = this.#clusters(offset, length);
    await this.gate.move(first, last, task);
    if (this.#freed.length > MAX_FREED_RANGES) await this.#writeBack.run();
  }

  #clusters(offset: number, length: number): { first: number; last: number } {
    const { clusterBytes } = this.layout;
    const last = Math.floor((offset + Math.max(1, length) - 1) / clusterBytes);
    return { first: Math.floor(offset / clusterBytes), last };
  }

  /** Have all that has been written before be safe. */
  flush(): Promise<void> {
    return this.#writeBack.run();
  }

  /** Have all that has been written before be in the disk below, where another process finds it. */
  async keep(): Promise<void> {
    if (this.hasUnwritten) await this.#writeBack.run(false);
  }

  /** No request is under way. */
  async close(): Promise<void> {
    try {
      if (!this.file.readOnly) await this.#writeBack.finish();
    } finally {
      this.#backing.close();
      this.file.close();
    }
  }
}

/** Features that are not kept up, such as bitmaps, must be seen not to have been. */
async function clearAutoclear(file: ImageFile): Promise<void> {
  const bytes = Buffer.alloc(Math.max(HEADER_START_BYTES, file.blockBytes));
  await file.read(bytes, 0);
  bytes.fill(0, HeaderField.AUTOCLEAR, HeaderField.AUTOCLEAR + 8);
  await file.write(bytes, 0);
  await file.barrier();
}
