/**
 * How many users each cluster of the image's file has: the refcount table, all of it in memory, and a
 * bounded number of the blocks that it leads to.
 *
 * Blocks may be written at any time: a count that is raised too early leaks a cluster, and counts are
 * lowered only when nothing on the disk leads to the cluster any more (`WriteBack`).
 */
import { Errno, SystemError } from '../../sys/index.ts';
import { readBig, writeBig } from './big-endian.ts';
import type { Qcow2Header } from './header.ts';
import type { HostPlaces } from './host-places.ts';
import type { ImageFile } from './image-file.ts';
import { ENTRY_BYTES, type Layout } from './layout.ts';
import { readRefcount, writeRefcount } from './refcount-entries.ts';
import { SerialTasks } from './serial-tasks.ts';

/** Memory for blocks, unless told otherwise. */
const CACHE_BYTES = 8 * 2 ** 20;
const MIN_BLOCKS = 4;

/** A block in memory: the counts of `refcountsPerBlock` clusters. */
export interface RefcountBlock {
  readonly index: number;
  readonly bytes: Buffer;
  isDirty: boolean;
}

/** See the module's comment. */
export class Refcounts {
  readonly #file: ImageFile;
  readonly #layout: Layout;
  readonly #places: HostPlaces;
  readonly #maxBlocks: number;
  /** In the order of their last use. */
  readonly #blocks = new Map<number, RefcountBlock>();
  readonly #loading = new Map<number, Promise<RefcountBlock>>();
  readonly #writing = new SerialTasks();
  #table: Buffer;
  #tableOffset: number;
  /** Blocks of the file, counted from the table's start. */
  #dirtyTable = new Set<number>();

  private constructor(
    table: Buffer,
    tableOffset: number,
    file: ImageFile,
    layout: Layout,
    places: HostPlaces,
    cacheBytes: number,
  ) {
    this.#table = table;
    this.#tableOffset = tableOffset;
    this.#file = file;
    this.#layout = layout;
    this.#places = places;
    this.#maxBlocks = Math.max(MIN_BLOCKS, Math.floor(cacheBytes / layout.clusterBytes));
  }

  static async read(
    file: ImageFile,
    header: Qcow2Header,
    layout: Layout,
    places: HostPlaces,
    cacheBytes: number = CACHE_BYTES,
  ): Promise<Refcounts> {
    const table = Buffer.alloc(header.refcountTableClusters * layout.clusterBytes);
    await file.read(table, header.refcountTableOffset);
    for (let at = 0; at < table.length; at += ENTRY_BYTES) places.addTable(readBig(table, at));
    return new Refcounts(table, header.refcountTableOffset, file, layout, places, cacheBytes);
  }

  /** Blocks that the table has room for. */
  get capacity(): number {
    return this.#table.length / ENTRY_BYTES;
  }

  get tableOffset(): number {
    return this.#tableOffset;
  }

  /** A copy of the table, with room for `capacity` blocks. */
  largerTable(capacity: number): Buffer {
    const table = Buffer.alloc(capacity * ENTRY_BYTES);
    this.#table.copy(table);
    return table;
  }

  /** Whether there is a block for a range of clusters: without, none of them has a user. */
  hasBlock(index: number): boolean {
    return index < this.capacity && readBig(this.#table, index * ENTRY_BYTES) !== 0;
  }

  /**
   * A block that there is. Good until the next one is asked for, which may have to make room: one user
   * at a time.
   */
  block(index: number): RefcountBlock | Promise<RefcountBlock> {
    const block = this.#blocks.get(index);
    if (block === undefined) return this.#load(index);
    this.#blocks.delete(index);
    this.#blocks.set(index, block);
    return block;
  }

  async #load(index: number): Promise<RefcountBlock> {
    for (;;) {
      const known = this.#blocks.get(index);
      if (known !== undefined) return known;
      let loading = this.#loading.get(index);
      if (loading === undefined) {
        loading = this.#read(index).finally(() => this.#loading.delete(index));
        this.#loading.set(index, loading);
      }
      await loading;
    }
  }

  async #read(index: number): Promise<RefcountBlock> {
    const offset = readBig(this.#table, index * ENTRY_BYTES);
    if (!this.#places.canBeAt(offset)) throw new SystemError('refcount block', Errno.EIO);
    await this.#makeRoom();
    const bytes = Buffer.alloc(this.#layout.clusterBytes);
    await this.#file.read(bytes, offset);
    const block = { index, bytes, isDirty: false };
    this.#blocks.set(index, block);
    return block;
  }

  async #makeRoom(): Promise<void> {
    while (this.#blocks.size >= this.#maxBlocks) {
      const [oldest] = this.#blocks.values();
      // What is being written is not dirty, but must not be read again before it is there.
      await this.#writing.run(() => this.#writeBlock(oldest));
      const isKept = this.#blocks.get(oldest.index) === oldest;
      if (isKept && !oldest.isDirty) this.#blocks.delete(oldest.index);
    }
  }

  /** A new block of counts that are 0, which lies in the cluster at `offset`. */
  addBlock(index: number, offset: number): RefcountBlock {
    const block = { index, bytes: Buffer.alloc(this.#layout.clusterBytes), isDirty: true };
    this.#blocks.set(index, block);
    const at = index * ENTRY_BYTES;
    writeBig(this.#table, at, offset);
    this.#places.addTable(offset);
    this.#dirtyTable.add(Math.floor(at / this.#file.blockBytes));
    return block;
  }

  /** The bytes of a block whose first clusters have a user each. */
  fullBlock(used: number): Buffer {
    const bytes = Buffer.alloc(this.#layout.clusterBytes);
    for (let entry = 0; entry < used; entry++) {
      writeRefcount(bytes, entry, this.#layout.refcountOrder, 1);
    }
    return bytes;
  }

  get(block: RefcountBlock, entry: number): number {
    return readRefcount(block.bytes, entry, this.#layout.refcountOrder);
  }

  set(block: RefcountBlock, entry: number, count: number): void {
    writeRefcount(block.bytes, entry, this.#layout.refcountOrder, count);
    block.isDirty = true;
  }

  get isDirty(): boolean {
    if (this.#dirtyTable.size > 0) return true;
    for (const { isDirty } of this.#blocks.values()) if (isDirty) return true;
    return false;
  }

  /** Have all of it written, blocks before entries that lead to them; not flushed in the end. */
  write(): Promise<void> {
    return this.#writing.run(() => this.#write());
  }

  async #write(): Promise<void> {
    const dirty = [...this.#blocks.values()].filter(({ isDirty }) => isDirty);
    // As it is now: what is added from here on may lead to blocks that are not written.
    const parts = this.#takeDirtyTable();
    try {
      for (const block of dirty) await this.#writeBlock(block);
      if (parts.length === 0) return;
      await this.#file.barrier();
      for (const { offset, bytes } of parts) await this.#file.write(bytes, offset);
    } catch (error) {
      for (const { block } of parts) this.#dirtyTable.add(block);
      throw error;
    }
  }

  #takeDirtyTable(): { block: number; offset: number; bytes: Buffer }[] {
    const blocks = [...this.#dirtyTable];
    this.#dirtyTable = new Set();
    const { blockBytes } = this.#file;
    return blocks.map((block) => {
      const at = block * blockBytes;
      const bytes = Buffer.from(this.#table.subarray(at, at + blockBytes));
      return { block, offset: this.#tableOffset + at, bytes };
    });
  }

  async #writeBlock(block: RefcountBlock): Promise<void> {
    if (!block.isDirty) return;
    const offset = readBig(this.#table, block.index * ENTRY_BYTES);
    block.isDirty = false;
    try {
      // A copy: counts may change while it is being written.
      await this.#file.write(Buffer.from(block.bytes), offset);
    } catch (error) {
      block.isDirty = true;
      throw error;
    }
  }

  /**
   * Have the table be another one, elsewhere.
   *
   * @param store - writes it, and has the header lead to it.
   */
  replaceTable(table: Buffer, offset: number, store: () => Promise<void>): Promise<void> {
    return this.#writing.run(async () => {
      await this.#write();
      await this.#file.barrier();
      await store();
      this.#table = table;
      this.#tableOffset = offset;
      this.#dirtyTable = new Set();
    });
  }
}
