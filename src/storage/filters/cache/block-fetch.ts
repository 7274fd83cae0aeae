/**
 * The way of blocks into the cache: neighbours that are missing come with one read, and whoever needs
 * a block that is on its way waits for that.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import type { CachedBlocks } from './cached-blocks.ts';

/** Most that is read at a time. */
const MAX_BYTES = 2 ** 20;

/** See the module's comment. */
export class BlockFetch {
  readonly #below: DiskAccess;
  readonly #blocks: CachedBlocks;
  readonly #onUnpin: () => void;
  readonly #underWay = new Map<number, Promise<void>>();
  readBytes = 0;

  /** @param onUnpin - called when slots may have become free. */
  constructor(below: DiskAccess, blocks: CachedBlocks, onUnpin: () => void) {
    this.#below = below;
    this.#blocks = blocks;
    this.#onUnpin = onUnpin;
  }

  /** The fetch that a block is part of. It may end without the block being there. */
  underWay(block: number): Promise<void> | undefined {
    return this.#underWay.get(block);
  }

  /** Wait until nothing is on its way. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay.values());
  }

  /**
   * Read a block that has a slot, and those behind it that are in none, as far as there is room.
   *
   * @param end - the first block that is not wanted.
   * @param onThere - called when they are there: later, others may have taken the slots.
   */
  fetch(first: number, end: number, onThere: () => void = () => {}): Promise<void> {
    const { blockBytes } = this.#blocks;
    const slots = [this.#blocks.find(first)];
    this.#blocks.pin(slots[0]);
    const most = Math.min(end, first + Math.max(1, MAX_BYTES / blockBytes));
    for (let block = first + 1; block < most; block++) {
      const slot = this.#blocks.find(block) === -1 ? this.#blocks.take(block) : -1;
      if (slot === -1) break;
      this.#blocks.pin(slot);
      slots.push(slot);
    }
    for (const slot of slots) this.#blocks.beginFetch(slot);
    // Not before they are set: a read that fails on the spot is over within the call.
    const fetched = this.#read(first, slots, onThere).finally(() => {
      slots.forEach((slot, index) => {
        this.#underWay.delete(first + index);
        this.#blocks.unpin(slot);
      });
      this.#onUnpin();
    });
    slots.forEach((_, index) => {
      this.#underWay.set(first + index, fetched);
    });
    return fetched;
  }

  async #read(first: number, slots: readonly number[], onThere: () => void): Promise<void> {
    const { blockBytes } = this.#blocks;
    const offset = first * blockBytes;
    const length = Math.min(slots.length * blockBytes, this.#below.info.sizeBytes - offset);
    let data: Uint8Array | undefined;
    try {
      const buffer = new Uint8Array(length);
      await this.#below.read(buffer, offset);
      this.readBytes += length;
      data = buffer;
    } finally {
      slots.forEach((slot, index) => {
        const start = index * blockBytes;
        this.#blocks.endFetch(slot, data?.subarray(start, start + blockBytes));
      });
    }
    onThere();
  }
}
