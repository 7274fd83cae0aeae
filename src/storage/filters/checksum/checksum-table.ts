/**
 * The checksums of a disk's blocks: a table in a side file, the part of it in memory that is in use.
 * An entry is the CRC-32 of a block; 0: it is not known. (A checksum that is 0 is kept as 1.)
 */
import { crc32 } from 'node:zlib';
import type { DiskAccess } from '../../access/disk-access.ts';
import { forEachAtOnce } from '../../settle-all.ts';

/** What entries are read and written by. */
export const TABLE_PAGE_BYTES = 4096;
const ENTRIES_PER_PAGE = TABLE_PAGE_BYTES / 4;
export const UNKNOWN = 0;
const AT_ONCE = 8;

interface Page {
  readonly entries: Uint32Array<ArrayBuffer>;
  /** Fails if it cannot be read. */
  readonly loaded: Promise<void>;
  users: number;
  isDirty: boolean;
  writing: Promise<void> | undefined;
}

/** The entry of a block. */
export function checksumOf(block: Uint8Array): number {
  return crc32(block) || 1;
}

/** Bytes of the table in the file. */
export function tableBytes(blocks: number): number {
  return Math.ceil(blocks / ENTRIES_PER_PAGE) * TABLE_PAGE_BYTES;
}

/** See the module's comment. */
export class ChecksumTable {
  readonly #side: DiskAccess;
  readonly #offset: number;
  readonly #maxPages: number;
  /** The one that was used last is the last. */
  readonly #pages = new Map<number, Page>();

  /** @param offset - where it is in the file. @param maxPages - kept in memory when not in use. */
  constructor(side: DiskAccess, offset: number, maxPages: number) {
    this.#side = side;
    this.#offset = offset;
    this.#maxPages = maxPages;
  }

  /** Use the entries of blocks, while `action` takes. They lie close together. */
  async use(first: number, end: number, action: () => void | Promise<void>): Promise<void> {
    const pages: Page[] = [];
    for (let number = pageOf(first); number <= pageOf(end - 1); number++) {
      const page = this.#page(number);
      page.users += 1;
      pages.push(page);
    }
    try {
      for (const page of pages) await page.loaded;
      await action();
    } finally {
      for (const page of pages) page.users -= 1;
      if (this.#pages.size > this.#maxPages) await this.#shrink();
    }
  }

  #page(number: number): Page {
    const known = this.#pages.get(number);
    if (known !== undefined) {
      this.#pages.delete(number);
      this.#pages.set(number, known);
      return known;
    }
    const entries = new Uint32Array(ENTRIES_PER_PAGE);
    const page: Page = {
      entries,
      loaded: this.#load(number, entries),
      users: 0,
      isDirty: false,
      writing: undefined,
    };
    page.loaded.catch(() => this.#pages.delete(number));
    this.#pages.set(number, page);
    return page;
  }

  async #load(number: number, entries: Uint32Array<ArrayBuffer>): Promise<void> {
    await this.#side.read(new Uint8Array(entries.buffer), this.#placeOf(number));
  }

  #placeOf(number: number): number {
    return this.#offset + number * TABLE_PAGE_BYTES;
  }

  /** Only within `use`. */
  get(block: number): number {
    return this.#pages.get(pageOf(block))?.entries[block % ENTRIES_PER_PAGE] ?? UNKNOWN;
  }

  /** Only within `use`. Safe after `save`, and a flush of the file. */
  set(block: number, entry: number): void {
    const page = this.#pages.get(pageOf(block));
    if (page === undefined || page.entries[block % ENTRIES_PER_PAGE] === entry) return;
    page.entries[block % ENTRIES_PER_PAGE] = entry;
    page.isDirty = true;
  }

  /** Write what has changed. */
  async save(): Promise<void> {
    const changed = [...this.#pages].filter(
      ([, page]) => page.isDirty || page.writing !== undefined,
    );
    await forEachAtOnce(changed, AT_ONCE, ([number, page]) => this.#write(number, page));
  }

  async #write(number: number, page: Page): Promise<void> {
    while (page.writing !== undefined) await page.writing.catch(() => {});
    if (!page.isDirty) return;
    page.isDirty = false;
    page.writing = this.#writeNow(number, page.entries.slice());
    try {
      await page.writing;
    } catch (error) {
      page.isDirty = true;
      throw error;
    } finally {
      page.writing = undefined;
    }
  }

  async #writeNow(number: number, entries: Uint32Array<ArrayBuffer>): Promise<void> {
    await this.#side.write(new Uint8Array(entries.buffer), this.#placeOf(number));
  }

  /** Pages that nobody uses make room; those that cannot be written stay. */
  async #shrink(): Promise<void> {
    for (const [number, page] of this.#pages) {
      if (this.#pages.size <= this.#maxPages) return;
      if (page.users > 0) continue;
      if (page.isDirty) await this.#write(number, page).catch(() => {});
      const isIdle = page.users === 0 && !page.isDirty && page.writing === undefined;
      if (isIdle && this.#pages.get(number) === page) this.#pages.delete(number);
    }
  }
}

function pageOf(block: number): number {
  return Math.floor(block / ENTRIES_PER_PAGE);
}
