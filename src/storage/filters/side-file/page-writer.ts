/**
 * Pages of a table in memory that are written to a side file: one write at a time for each page,
 * which takes along all that has changed until it begins.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import { forEachAtOnce } from '../../settle-all.ts';

export const PAGE_BYTES = 4096;
/** Pages of a range that are written at once. */
const AT_ONCE = 16;

/** A write of a page, and the one after it. */
interface PageWrite {
  readonly done: Promise<void>;
  next: Promise<void> | undefined;
}

/** See the module's comment. */
export class PageWriter {
  readonly #table: Uint8Array;
  readonly #side: DiskAccess;
  readonly #offset: number;
  readonly #underWay = new Map<number, PageWrite>();
  /** Pages that differ from the file's, as far as is known. */
  readonly #unsaved = new Set<number>();

  /** @param offset - where the table is in the file; a multiple of a page, as is its length. */
  constructor(table: Uint8Array, side: DiskAccess, offset: number) {
    this.#table = table;
    this.#side = side;
    this.#offset = offset;
  }

  /** A page has changed: `saveAll` will write it, if `save` does not. */
  touch(page: number): void {
    this.#unsaved.add(page);
  }

  /** Have pages of a range in the file as they are now. */
  save(first: number, end: number): Promise<void> {
    if (end - first === 1) return this.#save(first);
    const pages: number[] = [];
    for (let page = first; page < end; page++) {
      if (this.#unsaved.has(page) || this.#underWay.has(page)) pages.push(page);
    }
    return forEachAtOnce(pages, AT_ONCE, (page) => this.#save(page));
  }

  /** Have all pages in the file as they are now. */
  saveAll(): Promise<void> {
    const pages = new Set([...this.#unsaved, ...this.#underWay.keys()]);
    return forEachAtOnce(pages, AT_ONCE, (page) => this.#save(page));
  }

  #save(page: number): Promise<void> {
    const current = this.#underWay.get(page);
    if (!this.#unsaved.has(page)) return current?.done ?? Promise.resolve();
    if (current === undefined) return this.#begin(page);
    const afterIt = async (): Promise<void> => {
      await current.done.catch(() => {});
      return this.#save(page);
    };
    current.next ??= afterIt();
    return current.next;
  }

  #begin(page: number): Promise<void> {
    const write: PageWrite = { done: this.#write(page), next: undefined };
    this.#underWay.set(page, write);
    const end = (): void => {
      if (this.#underWay.get(page) === write) this.#underWay.delete(page);
    };
    return write.done.then(end, (error: unknown) => {
      end();
      this.#unsaved.add(page);
      throw error;
    });
  }

  async #write(page: number): Promise<void> {
    this.#unsaved.delete(page);
    const start = page * PAGE_BYTES;
    const copy = this.#table.slice(start, start + PAGE_BYTES);
    await this.#side.write(copy, this.#offset + start);
  }
}
