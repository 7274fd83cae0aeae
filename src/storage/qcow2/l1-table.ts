/** The L1 table of the disk: where the L2 tables are. All of it is kept in memory. */
import type { Qcow2Header } from './header.ts';
import type { HostPlaces } from './host-places.ts';
import type { ImageFile } from './image-file.ts';
import { EntryBit, hostOffset } from './l2-entry.ts';
import { ENTRY_BYTES } from './layout.ts';

/** A part of the table that is to be written. */
export interface TablePart {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** See the module's comment. */
export class L1Table {
  readonly #bytes: Buffer;
  readonly #offset: number;
  readonly #blockBytes: number;
  readonly #places: HostPlaces;
  /** Blocks of the file, counted from the table's start. */
  #dirtyBlocks = new Set<number>();

  private constructor(bytes: Buffer, offset: number, blockBytes: number, places: HostPlaces) {
    this.#bytes = bytes;
    this.#offset = offset;
    this.#blockBytes = blockBytes;
    this.#places = places;
  }

  static async read(file: ImageFile, header: Qcow2Header, places: HostPlaces): Promise<L1Table> {
    const { blockBytes } = file;
    const blocks = Math.ceil((header.l1Entries * ENTRY_BYTES) / blockBytes);
    const bytes = Buffer.alloc(blocks * blockBytes);
    await file.read(bytes, header.l1Offset);
    const table = new L1Table(bytes, header.l1Offset, blockBytes, places);
    for (let index = 0; index < header.l1Entries; index++) {
      const offset = table.tableOffset(index);
      if (!Number.isNaN(offset)) places.addTable(offset);
    }
    return table;
  }

  /** Where an L2 table is; 0: nowhere; NaN: the entry is wrong. */
  tableOffset(index: number): number {
    const at = index * ENTRY_BYTES;
    const offset = hostOffset(this.#bytes.readInt32BE(at), this.#bytes.readInt32BE(at + 4));
    return offset === 0 || this.#places.canBeAt(offset) ? offset : Number.NaN;
  }

  /** Whether an L2 table may be changed where it is: nobody else, such as a snapshot, uses it. */
  isCopied(index: number): boolean {
    return (this.#bytes.readInt32BE(index * ENTRY_BYTES) & EntryBit.COPIED) !== 0;
  }

  /** Have an L2 table be at `offset`, and nobody else's. */
  set(index: number, offset: number): void {
    const at = index * ENTRY_BYTES;
    this.#places.removeTable(this.tableOffset(index));
    this.#places.addTable(offset);
    this.#bytes.writeInt32BE((offset / 2 ** 32) | EntryBit.COPIED, at);
    this.#bytes.writeInt32BE(offset | 0, at + 4);
    this.#dirtyBlocks.add(Math.floor(at / this.#blockBytes));
  }

  get isDirty(): boolean {
    return this.#dirtyBlocks.size > 0;
  }

  /** What is to be written, as it is now. */
  takeDirty(): TablePart[] {
    const blocks = [...this.#dirtyBlocks];
    this.#dirtyBlocks = new Set();
    return blocks.map((block) => {
      const at = block * this.#blockBytes;
      const bytes = Buffer.from(this.#bytes.subarray(at, at + this.#blockBytes));
      return { offset: this.#offset + at, bytes };
    });
  }

  /** Parts have not been written. */
  putBack(parts: readonly TablePart[]): void {
    for (const { offset } of parts) {
      this.#dirtyBlocks.add((offset - this.#offset) / this.#blockBytes);
    }
  }
}
