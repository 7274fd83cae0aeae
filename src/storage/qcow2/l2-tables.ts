/** L2 tables: whether there is one, and made ready to be changed. */
import { Errno, SystemError } from '../../sys/index.ts';
import type { Allocator } from './allocator.ts';
import type { FreeList } from './free-list.ts';
import type { ImageFile } from './image-file.ts';
import type { L1Table } from './l1-table.ts';
import type { Layout } from './layout.ts';
import { SerialTasks } from './serial-tasks.ts';
import type { SliceLoads } from './slice-loads.ts';

export interface L2TableParts {
  readonly file: ImageFile;
  readonly layout: Layout;
  readonly l1: L1Table;
  readonly allocator: Allocator;
  readonly freed: FreeList;
  readonly loads: SliceLoads;
}

/** See the module's comment. */
export class L2Tables {
  readonly #parts: L2TableParts;
  readonly #tables = new SerialTasks();

  constructor(parts: L2TableParts) {
    this.#parts = parts;
  }

  #tableOf(slice: number): number {
    return Math.floor(slice / this.#parts.layout.slicesPerTable);
  }

  #offsetOf(index: number): number {
    const offset = this.#parts.l1.tableOffset(index);
    if (Number.isNaN(offset)) throw new SystemError('L1 entry', Errno.EIO, `${index} is wrong`);
    return offset;
  }

  /** Whether a slice has an L2 table that it is in: without, none of its clusters is anywhere. */
  hasTable(slice: number): boolean {
    return this.#offsetOf(this.#tableOf(slice)) !== 0;
  }

  /** Whether a slice is known to have none. Does not throw. */
  isAbsent(slice: number): boolean {
    return this.#parts.l1.tableOffset(this.#tableOf(slice)) === 0;
  }

  /** See `SliceLoads.pin`. */
  pin(slice: number): Promise<number> {
    return this.#parts.loads.pin(slice);
  }

  /** As `pin`, for a slice that is to be changed: it has a table, which is nobody else's. */
  async pinWritable(slice: number): Promise<number> {
    const index = this.#tableOf(slice);
    const { l1 } = this.#parts;
    const isReady = (): boolean => l1.isCopied(index) && this.#offsetOf(index) !== 0;
    if (!isReady()) {
      await this.#tables.run(async () => {
        if (!isReady()) await this.#makeTable(index);
      });
    }
    return this.pin(slice);
  }

  /** Have an L2 table that may be changed: a new one, or a copy of one that others use, too. */
  async #makeTable(index: number): Promise<void> {
    const { allocator, file, freed, l1, layout } = this.#parts;
    const old = this.#offsetOf(index);
    const { host, isFresh } = await allocator.allocate(1);
    try {
      if (old !== 0) {
        const bytes = Buffer.alloc(layout.clusterBytes);
        await file.read(bytes, old);
        await file.write(bytes, host);
      } else if (!isFresh) await file.writeZeros(host, layout.clusterBytes);
    } catch (error) {
      await allocator.release(host, 1);
      throw error;
    }
    l1.set(index, host);
    if (old !== 0) freed.add(old);
  }
}
