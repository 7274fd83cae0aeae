/** A larger refcount table for an image whose file has grown beyond what the old one describes. */
import { writeBig } from './big-endian.ts';
import { HEADER_START_BYTES, HeaderField } from './header.ts';
import type { HostPlaces } from './host-places.ts';
import type { ImageFile } from './image-file.ts';
import { ENTRY_BYTES, type Layout } from './layout.ts';
import type { Refcounts } from './refcounts.ts';

/** The table that is not used any more. */
export interface OldTable {
  readonly host: number;
  readonly count: number;
  /** Clusters of the file up to the end of what is new. */
  readonly usedClusters: number;
}

/** See the module's comment. */
export class RefcountTableGrowth {
  readonly #file: ImageFile;
  readonly #layout: Layout;
  readonly #places: HostPlaces;
  readonly #refcounts: Refcounts;

  constructor(file: ImageFile, layout: Layout, places: HostPlaces, refcounts: Refcounts) {
    this.#file = file;
    this.#layout = layout;
    this.#places = places;
    this.#refcounts = refcounts;
  }

  /**
   * Have the table reach to the block with number `index`, the first that it has no room for. What
   * is new lies where that block's clusters begin: blocks that describe themselves and the table,
   * then the table. The header leads to it when all of that is safe.
   */
  async grow(index: number): Promise<OldTable> {
    const { clusterBytes, refcountsPerBlock } = this.#layout;
    const { blocks, tableClusters } = this.#sizes(index);
    const firstCluster = index * refcountsPerBlock;
    const start = firstCluster * clusterBytes;
    const offset = start + blocks * clusterBytes;
    const usedClusters = firstCluster + blocks + tableClusters;
    this.#file.reach(usedClusters * clusterBytes);

    const table = this.#refcounts.largerTable((tableClusters * clusterBytes) / ENTRY_BYTES);
    const old = {
      host: this.#refcounts.tableOffset,
      count: (this.#refcounts.capacity * ENTRY_BYTES) / clusterBytes,
      usedClusters,
    };
    await this.#refcounts.replaceTable(table, offset, async () => {
      await this.#writeBlocks(table, index, blocks, blocks + tableClusters);
      await this.#file.write(table, offset);
      await this.#file.barrier();
      await this.#writeHeader(offset, tableClusters);
      await this.#file.barrier();
      this.#places.moveRefcountTable(offset, tableClusters * clusterBytes);
      for (let at = 0; at < blocks; at++) this.#places.addTable(start + at * clusterBytes);
    });
    return old;
  }

  /** At least half as large again as the old one. */
  #sizes(index: number): { blocks: number; tableClusters: number } {
    const { clusterBytes, refcountsPerBlock } = this.#layout;
    const perCluster = clusterBytes / ENTRY_BYTES;
    let blocks = 1;
    for (;;) {
      const entries = Math.max(index + blocks, Math.ceil(this.#refcounts.capacity * 1.5));
      const tableClusters = Math.ceil(entries / perCluster);
      const needed = Math.ceil((blocks + tableClusters) / refcountsPerBlock);
      if (needed <= blocks) return { blocks, tableClusters };
      blocks = needed;
    }
  }

  /** The blocks of what is new: `clusters` of them are used. */
  async #writeBlocks(
    table: Buffer,
    index: number,
    blocks: number,
    clusters: number,
  ): Promise<void> {
    const { clusterBytes, refcountsPerBlock } = this.#layout;
    const start = index * refcountsPerBlock * clusterBytes;
    for (let at = 0; at < blocks; at++) {
      const offset = start + at * clusterBytes;
      writeBig(table, (index + at) * ENTRY_BYTES, offset);
      const used = Math.min(refcountsPerBlock, clusters - at * refcountsPerBlock);
      await this.#file.write(this.#refcounts.fullBlock(used), offset);
    }
  }

  async #writeHeader(offset: number, tableClusters: number): Promise<void> {
    const bytes = Buffer.alloc(Math.max(HEADER_START_BYTES, this.#file.blockBytes));
    await this.#file.read(bytes, 0);
    writeBig(bytes, HeaderField.REFCOUNT_TABLE, offset);
    bytes.writeUInt32BE(tableClusters, HeaderField.REFCOUNT_TABLE + 8);
    await this.#file.write(bytes, 0);
  }
}
