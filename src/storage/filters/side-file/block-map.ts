/**
 * Which blocks of a disk are in a side file: a table of one byte a block, in memory and in the file.
 *
 * A byte has two states. The upper half is the block's state now; the lower one that since the last
 * flush, whose data is safe. Both are in the file: the upper ones are written before a request
 * completes, so that nothing is lost if the process is killed; after a crash of the machine, which
 * may have lost the data, the lower ones hold.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import { PAGE_BYTES, PageWriter } from './page-writer.ts';
import { formatError, type SideIdentity } from './side-header.ts';

/** What a side file knows of a block. */
export const BlockState = {
  /** Nothing: the disk below has it. */
  ABSENT: 0,
  /** Its data. */
  DATA: 1,
  /** It is full of zeros. */
  ZERO: 2,
} as const;

const MAX_STATE = 2;
const READ_BYTES = 2 ** 20;
/** More would take too much memory. */
export const MAX_BLOCKS = 2 ** 28;

/** Bytes of the table in a file: whole pages. */
export function mapBytes(blocks: number): number {
  return Math.ceil(blocks / PAGE_BYTES) * PAGE_BYTES;
}

/** See the module's comment. */
export class BlockMap {
  readonly blocks: number;
  readonly #table: Uint8Array;
  readonly #pages: PageWriter | undefined;
  /** Pages with blocks whose halves may differ. */
  readonly #unflushed = new Set<number>();
  #needsSave = false;

  private constructor(table: Uint8Array, blocks: number, pages: PageWriter | undefined) {
    this.blocks = blocks;
    this.#table = table;
    this.#pages = pages;
  }

  /** All blocks absent, and in memory only. */
  static inMemory(blocks: number): BlockMap {
    return new BlockMap(new Uint8Array(mapBytes(blocks)), blocks, undefined);
  }

  /**
   * Read it from a file. Throws a `StorageError` DISK_FORMAT if it makes no sense.
   *
   * @param isSameBoot - whether what was written without a flush can be relied on.
   */
  static async load(
    side: DiskAccess,
    offset: number,
    blocks: number,
    isSameBoot: boolean,
    identity: SideIdentity,
  ): Promise<BlockMap> {
    const table = new Uint8Array(mapBytes(blocks));
    for (let at = 0; at < table.length; at += READ_BYTES) {
      await side.read(table.subarray(at, at + READ_BYTES), offset + at);
    }
    const map = new BlockMap(table, blocks, new PageWriter(table, side, offset));
    for (let block = 0; block < table.length; block++) {
      const now = table[block] >> 4;
      const flushed = table[block] & 15;
      const isPossible = block < blocks || table[block] === 0;
      if (now > MAX_STATE || flushed > MAX_STATE || !isPossible) {
        throw formatError(identity, 'its table of blocks is damaged: restore it from a backup');
      }
      if (now !== flushed) map.#restore(block, isSameBoot ? now : flushed);
    }
    return map;
  }

  #restore(block: number, state: number): void {
    if (state !== this.#table[block] >> 4) this.#put(block, state);
    this.#unflushed.add(Math.floor(block / PAGE_BYTES));
  }

  /** `BlockState`. */
  get(block: number): number {
    return this.#table[block] >> 4;
  }

  /** Whether blocks have a state, all of them. */
  isAll(first: number, end: number, state: number): boolean {
    for (let block = first; block < end; block++) {
      if (this.get(block) !== state) return false;
    }
    return true;
  }

  /** Change the state of blocks. In the file after `save`, safe after `flush`. */
  set(first: number, end: number, state: number): void {
    for (let block = first; block < end; block++) {
      if (this.get(block) !== state) this.#put(block, state);
    }
  }

  #put(block: number, state: number): void {
    this.#table[block] = (this.#table[block] & 15) | (state << 4);
    const page = Math.floor(block / PAGE_BYTES);
    this.#unflushed.add(page);
    this.#pages?.touch(page);
  }

  /** Have what was said of blocks in the file. */
  async save(first: number, end: number): Promise<void> {
    await this.#pages?.save(Math.floor(first / PAGE_BYTES), Math.floor((end - 1) / PAGE_BYTES) + 1);
  }

  /** Have all that was said in the file. */
  async saveAll(): Promise<void> {
    await this.#pages?.saveAll();
  }

  /**
   * Make states safe that are there when it begins.
   *
   * @param flushSide - makes safe all that has been written to the file.
   */
  async flush(flushSide: () => void | Promise<void>): Promise<void> {
    const pages = [...this.#unflushed].map((page) => ({ page, states: this.#copy(page) }));
    this.#unflushed.clear();
    try {
      await flushSide();
    } catch (error) {
      for (const { page } of pages) this.#unflushed.add(page);
      throw error;
    }
    for (const { page, states } of pages) this.#markFlushed(page, states);
    await this.#saveFlushed(pages.length > 0, flushSide);
  }

  /** The data is safe, and with that its states. If this fails, the next flush does it again. */
  async #saveFlushed(isChanged: boolean, flushSide: () => void | Promise<void>): Promise<void> {
    this.#needsSave ||= isChanged;
    if (this.#pages === undefined || !this.#needsSave) return;
    await this.#pages.saveAll();
    await flushSide();
    this.#needsSave = false;
  }

  #copy(page: number): Uint8Array {
    return this.#table.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  }

  #markFlushed(page: number, states: Uint8Array): void {
    const start = page * PAGE_BYTES;
    let isChanged = false;
    for (let index = 0; index < PAGE_BYTES; index++) {
      const now = this.#table[start + index];
      const flushed = (now & 0xf0) | (states[index] >> 4);
      if (flushed === now) continue;
      this.#table[start + index] = flushed;
      isChanged = true;
    }
    if (isChanged) this.#pages?.touch(page);
    if (this.#hasUnflushed(page)) this.#unflushed.add(page);
  }

  #hasUnflushed(page: number): boolean {
    const states = this.#table.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    return states.some((byte) => byte >> 4 !== (byte & 15));
  }

  /** How many blocks are in the file, by `BlockState`. */
  count(): { data: number; zero: number } {
    let data = 0;
    let zero = 0;
    for (const byte of this.#table) {
      if (byte >> 4 === BlockState.DATA) data += 1;
      else if (byte >> 4 === BlockState.ZERO) zero += 1;
    }
    return { data, zero };
  }
}
