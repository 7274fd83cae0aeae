/**
 * Brings slices of L2 tables into memory, for requests that wait for them. Each is handed over pinned,
 * so that no other takes its place before the request has gone on: however few slots there are and
 * however many requests, each load is the end of somebody's waiting.
 *
 * Loads get a slot in the order of their arrival. While one waits for a slot, nobody else pins slices
 * that are there already: those who do would keep them in use, and changed, for ever.
 */
import { Errno, SystemError } from '../../sys/index.ts';
import type { ImageFile } from './image-file.ts';
import type { L1Table } from './l1-table.ts';
import type { Layout } from './layout.ts';
import type { MappingCache } from './mapping-cache.ts';
import { SerialTasks } from './serial-tasks.ts';

export interface SliceLoadParts {
  readonly file: ImageFile;
  readonly layout: Layout;
  readonly l1: L1Table;
  readonly cache: MappingCache;
  /** Have changed slices written, so that they can make room. */
  readonly makeRoom: () => Promise<void>;
}

/** A load that is under way. */
interface Load {
  /** Requests that wait for it. */
  waiting: number;
  readonly slot: Promise<number>;
}

/** See the module's comment. */
export class SliceLoads {
  readonly #parts: SliceLoadParts;
  readonly #loads = new Map<number, Load>();
  readonly #turns = new SerialTasks();
  #isCrowded = false;

  constructor(parts: SliceLoadParts) {
    this.#parts = parts;
  }

  /**
   * The slot of a slice that has a table, pinned: the caller unpins it, and waits for no other slice
   * and no other request before. Rejects with EIO if the L1 table does not say where it is.
   */
  async pin(slice: number): Promise<number> {
    const { cache } = this.#parts;
    const slot = this.#isCrowded ? -1 : cache.find(slice);
    if (slot >= 0) {
      cache.pin(slot);
      return slot;
    }
    const load = this.#loads.get(slice) ?? this.#begin(slice);
    load.waiting += 1;
    return load.slot;
  }

  #begin(slice: number): Load {
    const slot = this.#load(slice);
    const load = { waiting: 0, slot };
    this.#loads.set(slice, load);
    return load;
  }

  async #load(slice: number): Promise<number> {
    const { cache } = this.#parts;
    try {
      // All at once; only the slots are waited for one after the other.
      const read = cache.find(slice) >= 0 ? undefined : await this.#read(slice);
      return await this.#turns.run(() => this.#place(slice, read));
    } catch (error) {
      this.#loads.delete(slice);
      throw error;
    }
  }

  /** Have a slice in a slot, pinned for all that wait for it. */
  async #place(slice: number, read: SliceContent | undefined): Promise<number> {
    const { cache, l1, makeRoom } = this.#parts;
    let content = read;
    try {
      for (;;) {
        let slot = cache.find(slice);
        if (slot < 0) {
          // Meanwhile the table may have moved.
          if (content === undefined || l1.tableOffset(this.#tableOf(slice)) !== content.table) {
            content = await this.#read(slice);
            continue;
          }
          slot = cache.put(slice, content.bytes);
        }
        if (slot >= 0) return this.#handOver(slice, slot);
        this.#isCrowded = true;
        if (cache.isDirty) await makeRoom();
        else await cache.untilUnpinned();
      }
    } finally {
      this.#isCrowded = false;
    }
  }

  #handOver(slice: number, slot: number): number {
    const load = this.#loads.get(slice);
    this.#loads.delete(slice);
    for (let left = load?.waiting ?? 0; left > 0; left--) this.#parts.cache.pin(slot);
    return slot;
  }

  async #read(slice: number): Promise<SliceContent> {
    const { file, layout, l1 } = this.#parts;
    const index = this.#tableOf(slice);
    const table = l1.tableOffset(index);
    // NaN, too.
    if (!(table > 0)) throw new SystemError('L1 entry', Errno.EIO, `${index} is wrong`);
    const bytes = Buffer.allocUnsafe(layout.sliceBytes);
    await file.read(bytes, table + (slice % layout.slicesPerTable) * layout.sliceBytes);
    return { table, bytes };
  }

  #tableOf(slice: number): number {
    return Math.floor(slice / this.#parts.layout.slicesPerTable);
  }
}

/** What was read of a slice, from the table that was at that offset. */
interface SliceContent {
  readonly table: number;
  readonly bytes: Buffer;
}
