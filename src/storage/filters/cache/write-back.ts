/**
 * The way of dirty blocks to the disk below. Neighbours go together, and what goes is a copy, so that
 * requests may change the block meanwhile. What cannot be written stays dirty.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import { forEachAtOnce, settleAll } from '../../settle-all.ts';
import type { CachedBlocks } from './cached-blocks.ts';

/** Most that is written at a time, and how many of these at once. */
const MAX_BYTES = 2 ** 20;
const AT_ONCE = 8;

interface Part {
  readonly slot: number;
  /** Within the block. Bytes. */
  readonly start: number;
  readonly length: number;
}

/** Parts that lie side by side on the disk. */
interface Segment {
  readonly offset: number;
  length: number;
  readonly parts: Part[];
}

/** See the module's comment. */
export class WriteBack {
  readonly #below: DiskAccess;
  readonly #blocks: CachedBlocks;
  readonly #onUnpin: () => void;
  readonly #underWay = new Map<number, Promise<void>>();
  writtenBytes = 0;

  /** @param onUnpin - called when slots may have become free. */
  constructor(below: DiskAccess, blocks: CachedBlocks, onUnpin: () => void) {
    this.#below = below;
    this.#blocks = blocks;
    this.#onUnpin = onUnpin;
  }

  get blocksUnderWay(): number {
    return this.#underWay.size;
  }

  /** Have all on the disk below that is dirty now. Rejects if something cannot be written. */
  async writeAll(): Promise<void> {
    const blocks = new Set([...this.#underWay.keys(), ...this.#blocks.dirtyBlocks()]);
    await forEachAtOnce(blocks, AT_ONCE, (block) => this.clean(block));
  }

  /** Have a block on the disk below as it is now. */
  async clean(block: number): Promise<void> {
    for (;;) {
      const current = this.#underWay.get(block);
      if (current === undefined) break;
      // What failed is dirty again.
      await current.catch(() => {});
    }
    const slot = this.#blocks.find(block);
    if (slot !== -1 && this.#blocks.isDirty(slot)) await this.write(block);
  }

  /** Write a dirty block, and dirty ones next to it. */
  write(block: number): Promise<void> {
    const current = this.#underWay.get(block);
    if (current !== undefined) return current;
    const { first, end } = this.#neighbourhood(block);
    const slots: number[] = [];
    for (let each = first; each < end; each++) slots.push(this.#blocks.find(each));
    for (const slot of slots) this.#blocks.pin(slot);
    const segments = this.#segments(first, slots);
    const written = this.#writeSegments(segments).finally(() => {
      for (const slot of slots) this.#blocks.unpin(slot);
      for (let each = first; each < end; each++) this.#underWay.delete(each);
      this.#onUnpin();
    });
    for (let each = first; each < end; each++) this.#underWay.set(each, written);
    return written;
  }

  #neighbourhood(block: number): { first: number; end: number } {
    const most = Math.max(1, MAX_BYTES / this.#blocks.blockBytes);
    let first = block;
    let end = block + 1;
    while (end - first < most && this.#canGo(end)) end += 1;
    while (end - first < most && this.#canGo(first - 1)) first -= 1;
    return { first, end };
  }

  #canGo(block: number): boolean {
    const slot = this.#blocks.find(block);
    return slot !== -1 && this.#blocks.isDirty(slot) && !this.#underWay.has(block);
  }

  #segments(first: number, slots: readonly number[]): Segment[] {
    const segments: Segment[] = [];
    slots.forEach((slot, index) => {
      const blockOffset = (first + index) * this.#blocks.blockBytes;
      for (const { start, length } of this.#blocks.takeDirty(slot)) {
        const part = { slot, start, length };
        const offset = blockOffset + start;
        const last = segments.at(-1);
        if (last !== undefined && last.offset + last.length === offset) {
          last.parts.push(part);
          last.length += length;
        } else {
          segments.push({ offset, length, parts: [part] });
        }
      }
    });
    return segments;
  }

  async #writeSegments(segments: readonly Segment[]): Promise<void> {
    // The copies are made before anything is waited for.
    await settleAll(segments.map((segment) => () => this.#writeSegment(segment)));
  }

  async #writeSegment({ offset, length, parts }: Segment): Promise<void> {
    const copy = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      copy.set(this.#blocks.bytes(part.slot, part.start, part.length), at);
      at += part.length;
    }
    try {
      await this.#below.write(copy, offset);
      this.writtenBytes += length;
    } catch (error) {
      for (const part of parts) this.#blocks.setValid(part.slot, part.start, part.length, true);
      throw error;
    }
  }
}
