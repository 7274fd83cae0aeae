/**
 * Where a disk is being written: regions in which data and checksums may not agree if the machine, or
 * the process, ends now. A region is marked, safely, before the first write to it, and unmarked when it
 * has been quiet and all of it is safe. Regions that are found marked are in doubt.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import { PAGE_BYTES, PageWriter } from '../side-file/page-writer.ts';

/** The marks are one page of bits. */
export const INTENT_BYTES = PAGE_BYTES;
const REGIONS = INTENT_BYTES * 8;
const MIN_REGION_BYTES = 2 ** 20;

/** Bytes of a region of a disk. */
export function regionBytesOf(diskBytes: number): number {
  let bytes = MIN_REGION_BYTES;
  while (bytes * REGIONS < diskBytes) bytes *= 2;
  return bytes;
}

interface Activity {
  writes: number;
  /** When the last write ended. Milliseconds. */
  endedAt: number;
}

/** See the module's comment. */
export class WriteIntents {
  readonly regionBytes: number;
  readonly #side: DiskAccess;
  readonly #marks: Uint8Array;
  readonly #page: PageWriter;
  readonly #quietMs: number;
  /** Marked, and safely so. */
  readonly #safe = new Set<number>();
  readonly #doubtful = new Set<number>();
  readonly #active = new Map<number, Activity>();

  private constructor(
    side: DiskAccess,
    offset: number,
    marks: Uint8Array,
    diskBytes: number,
    quietMs: number,
  ) {
    this.regionBytes = regionBytesOf(diskBytes);
    this.#side = side;
    this.#marks = marks;
    this.#page = new PageWriter(marks, side, offset);
    this.#quietMs = quietMs;
    for (let region = 0; region < REGIONS; region++) {
      if ((marks[region >> 3] & (1 << (region & 7))) === 0) continue;
      this.#doubtful.add(region);
      this.#safe.add(region);
    }
  }

  /** @param quietMs - how long nothing is written to a region before it is unmarked. */
  static async load(
    side: DiskAccess,
    offset: number,
    diskBytes: number,
    quietMs: number,
  ): Promise<WriteIntents> {
    const marks = new Uint8Array(INTENT_BYTES);
    await side.read(marks, offset);
    return new WriteIntents(side, offset, marks, diskBytes, quietMs);
  }

  get doubtfulRegions(): number {
    return this.#doubtful.size;
  }

  isDoubtful(offset: number): boolean {
    return this.#doubtful.has(Math.floor(offset / this.regionBytes));
  }

  /** All of a region has been looked at: data and checksums agree. */
  settleDoubt(region: number): void {
    this.#doubtful.delete(region);
  }

  /** Do something that changes a range, when that has been noted. */
  async during(offset: number, length: number, action: () => Promise<void>): Promise<void> {
    const first = Math.floor(offset / this.regionBytes);
    const last = Math.floor((offset + length - 1) / this.regionBytes);
    for (let region = first; region <= last; region++) this.#begin(region);
    try {
      await this.#mark(first, last);
      await action();
    } finally {
      for (let region = first; region <= last; region++) this.#end(region);
    }
  }

  #begin(region: number): void {
    const activity = this.#active.get(region) ?? { writes: 0, endedAt: 0 };
    activity.writes += 1;
    this.#active.set(region, activity);
  }

  #end(region: number): void {
    const activity = this.#active.get(region);
    if (activity === undefined) return;
    activity.writes -= 1;
    activity.endedAt = performance.now();
  }

  async #mark(first: number, last: number): Promise<void> {
    const missing: number[] = [];
    for (let region = first; region <= last; region++) {
      if (!this.#safe.has(region)) missing.push(region);
    }
    if (missing.length === 0) return;
    for (const region of missing) this.#marks[region >> 3] |= 1 << (region & 7);
    this.#page.touch(0);
    await this.#page.saveAll();
    await this.#side.flush();
    for (const region of missing) this.#safe.add(region);
  }

  /**
   * Make all safe that was written, and unmark what is quiet.
   *
   * @param flush - makes data and checksums safe.
   * @param isLast - nothing will be written any more: all is quiet.
   */
  async flush(flush: () => Promise<void>, isLast = false): Promise<void> {
    const latest = performance.now() - (isLast ? 0 : this.#quietMs);
    const isQuiet = (region: number): boolean => {
      const activity = this.#active.get(region);
      if (activity === undefined) return !this.#doubtful.has(region);
      return activity.writes === 0 && activity.endedAt <= latest && !this.#doubtful.has(region);
    };
    const quiet = [...this.#safe].filter(isQuiet);
    await flush();
    const unmarked = quiet.filter(isQuiet);
    if (unmarked.length === 0) return;
    for (const region of unmarked) {
      this.#marks[region >> 3] &= ~(1 << (region & 7));
      this.#safe.delete(region);
      this.#active.delete(region);
    }
    this.#page.touch(0);
    await this.#page.saveAll();
  }
}
