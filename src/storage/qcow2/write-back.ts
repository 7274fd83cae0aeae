/**
 * Brings changed tables of a qcow2 image to the disk, in an order that makes a crash at any moment
 * leave an image that is right, but for clusters that nobody uses and nobody may have (leaks):
 *
 *   1. refcounts, before anything that leads to the clusters they count; the data of new clusters
 *      has been written before their entries changed;
 *   2. L2 tables;
 *   3. the L1 table, which leads to new L2 tables;
 *   4. then counts of what is not used any more go down, in memory, to be written the next time.
 *
 * Between these all that has been written is flushed.
 */
import { settleAll } from '../settle-all.ts';
import type { Allocator } from './allocator.ts';
import type { FreedRange, FreeList } from './free-list.ts';
import type { ImageFile } from './image-file.ts';
import type { ImageLog } from './image-log.ts';
import type { L1Table, TablePart } from './l1-table.ts';
import { ENTRY_BYTES, type Layout } from './layout.ts';
import type { DirtyPart, MappingCache } from './mapping-cache.ts';
import type { Refcounts } from './refcounts.ts';
import { SerialTasks } from './serial-tasks.ts';

export interface WriteBackParts {
  readonly file: ImageFile;
  readonly layout: Layout;
  readonly l1: L1Table;
  readonly cache: MappingCache;
  readonly refcounts: Refcounts;
  readonly allocator: Allocator;
  readonly freed: FreeList;
  readonly log: ImageLog;
}

/** One that has not begun. */
interface NextRun {
  readonly done: Promise<void>;
  /** What it writes has to be safe in the end. */
  mustBeSafe: boolean;
}

/** See the module's comment. */
export class WriteBack {
  readonly #parts: WriteBackParts;
  /** One after the other: two at once would each find nothing of what the other has taken. */
  readonly #tasks = new SerialTasks();
  #next: NextRun | undefined;
  /** That have not ended. */
  #count = 0;
  /** There has been one since the last that made all safe. */
  #isUnsafe = false;

  constructor(parts: WriteBackParts) {
    this.#parts = parts;
  }

  /** Whether something is not in the disk below yet. */
  get isNeeded(): boolean {
    const { cache, l1 } = this.#parts;
    return this.#count > 0 || cache.isDirty || l1.isDirty;
  }

  /** Whether that is safe there, too. */
  get isSafe(): boolean {
    return !this.isNeeded && !this.#isUnsafe;
  }

  /**
   * Resolves when all that has been written or changed before the call is safe, or at least in the
   * disk below: in its volatile cache, where another process finds it. Who comes while one is under
   * way shares the next one.
   */
  run(mustBeSafe = true): Promise<void> {
    if (this.#next !== undefined) {
      this.#next.mustBeSafe ||= mustBeSafe;
      return this.#next.done;
    }
    this.#count += 1;
    const next: NextRun = {
      mustBeSafe,
      done: this.#tasks.run(async () => {
        this.#next = undefined;
        try {
          await this.#writeAll(next.mustBeSafe);
        } finally {
          this.#count -= 1;
        }
      }),
    };
    this.#next = next;
    return next.done;
  }

  async #writeAll(mustBeSafe: boolean): Promise<void> {
    const { l1, cache, freed, refcounts } = this.#parts;
    const slices = cache.takeDirty();
    const tables = l1.takeDirty();
    // Only when nothing leads to them on the medium are they free.
    const ranges = mustBeSafe ? freed.take() : [];
    const places = slices.map(({ slice, first }) => this.#placeOf(slice, first));
    try {
      await refcounts.write();
      await this.#writeTables(slices, places, tables);
      if (mustBeSafe) await this.#parts.file.barrier();
      this.#isUnsafe = !mustBeSafe;
    } catch (error) {
      cache.putBack(slices);
      l1.putBack(tables);
      freed.putBack(ranges);
      throw error;
    }
    cache.written(slices);
    await this.#release(ranges);
  }

  /** Where a part of a slice is in the image's file. */
  #placeOf(slice: number, first: number): number {
    const { layout, l1 } = this.#parts;
    const table = l1.tableOffset(Math.floor(slice / layout.slicesPerTable));
    return table + (slice % layout.slicesPerTable) * layout.sliceBytes + first * ENTRY_BYTES;
  }

  async #writeTables(
    slices: readonly DirtyPart[],
    places: readonly number[],
    tables: readonly TablePart[],
  ): Promise<void> {
    const { file } = this.#parts;
    if (slices.length === 0 && tables.length === 0) return;
    await file.barrier();
    // None of these is under way when the next one begins, not even after one that has failed.
    await settleAll(
      slices.map(
        ({ bytes }, index) =>
          () =>
            file.write(bytes, places[index]),
      ),
    );
    if (tables.length === 0) return;
    await file.barrier();
    for (const { bytes, offset } of tables) await file.write(bytes, offset);
  }

  async #release(ranges: readonly FreedRange[]): Promise<void> {
    const { allocator, log } = this.#parts;
    for (const { host, count } of ranges) {
      try {
        await allocator.release(host, count, (free) => this.#discard(free));
      } catch (error) {
        // All that a flush promises is safe already.
        log.warnOnce('clusters are lost, until qemu-img check -r leaks finds them', error);
      }
    }
  }

  /** No more than a hint to the disk below. */
  async #discard(host: number): Promise<void> {
    const { file, layout, log } = this.#parts;
    try {
      await file.discard(host, layout.clusterBytes);
    } catch (error) {
      log.warnOnce('the disk it is in does not take back clusters that are free', error);
    }
  }

  /** Have nothing left to write. */
  async finish(): Promise<void> {
    await this.run();
    if (this.#parts.refcounts.isDirty || this.isNeeded) await this.run();
  }
}
