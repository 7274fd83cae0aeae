/**
 * Blocks of a file that is far away, those used last, in memory. Neighbours that are missing come
 * with one request; who wants what is already on its way waits for that.
 */
import type { RangeSink } from './http-file.ts';

/** Asked for at once. */
const MAX_RUN_BYTES = 2 ** 20;

/** What is cached. */
export interface BlockSource {
  readonly sizeBytes: number;
  /** Read a range, piece by piece, in order. */
  read(offset: number, length: number, sink: RangeSink): Promise<void>;
}

class Block {
  readonly data: Uint8Array;
  /** Absent: the data is there. */
  coming: Promise<void> | undefined;

  constructor(bytes: number) {
    this.data = new Uint8Array(bytes);
  }
}

/** See the module's comment. */
export class BlockCache {
  readonly #source: BlockSource;
  readonly #blockBytes: number;
  readonly #maxBytes: number;
  /** By number, those used last at the end. */
  readonly #blocks = new Map<number, Block>();
  #comingBytes = 0;

  /** @param maxBytes - of blocks that are there; those on their way come on top. */
  constructor(source: BlockSource, blockBytes: number, maxBytes: number) {
    this.#source = source;
    this.#blockBytes = blockBytes;
    this.#maxBytes = maxBytes;
  }

  /** Read a range that lies within the source. On the spot, if all of it is there. */
  read(buffers: readonly Uint8Array[], offset: number, length: number): void | Promise<void> {
    const blocks = this.#want(offset, offset + length);
    const coming = blocks.flatMap((block) => (block.coming === undefined ? [] : [block.coming]));
    const copy = (): void => this.#copy(blocks, buffers, offset, length);
    if (coming.length === 0) {
      copy();
      return undefined;
    }
    return Promise.all(coming).then(copy);
  }

  /** Have a range ready soon, as far as there is room for it. */
  prefetch(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#source.sizeBytes);
    const room = this.#maxBytes / 2 - this.#comingBytes;
    if (offset < end && room > 0) this.#want(offset, Math.min(end, offset + room));
  }

  /** The blocks of a range, in order, there or on their way. */
  #want(offset: number, end: number): Block[] {
    const first = Math.floor(offset / this.#blockBytes);
    const last = Math.ceil(end / this.#blockBytes) - 1;
    const found: Block[] = [];
    let run: Block[] = [];
    for (let number = first; number <= last; number++) {
      let block = this.#blocks.get(number);
      if (block === undefined) {
        block = new Block(this.#bytesOf(number));
        run.push(block);
        this.#comingBytes += block.data.length;
      } else {
        this.#blocks.delete(number);
        this.#fetch(run, number - run.length);
        run = [];
      }
      this.#blocks.set(number, block);
      found.push(block);
      if (run.length * this.#blockBytes >= MAX_RUN_BYTES) {
        this.#fetch(run, number + 1 - run.length);
        run = [];
      }
    }
    this.#fetch(run, last + 1 - run.length);
    return found;
  }

  #bytesOf(number: number): number {
    return Math.min(this.#blockBytes, this.#source.sizeBytes - number * this.#blockBytes);
  }

  /** Ask for neighbours, of which the first has a number. */
  #fetch(run: readonly Block[], first: number): void {
    if (run.length === 0) return;
    const start = first * this.#blockBytes;
    const length = run.reduce((sum, { data }) => sum + data.length, 0);
    const put: RangeSink = (bytes, at) => this.#put(run, bytes, at - start);
    const coming = this.#source.read(start, length, put).then(
      () => this.#arrived(run, length),
      (error: unknown) => {
        this.#comingBytes -= length;
        run.forEach((block, index) => {
          if (this.#blocks.get(first + index) === block) this.#blocks.delete(first + index);
        });
        throw error;
      },
    );
    // Perhaps nobody waits.
    coming.catch(() => {});
    for (const block of run) block.coming = coming;
  }

  #put(run: readonly Block[], bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      const position = at + done;
      const { data } = run[Math.floor(position / this.#blockBytes)];
      const within = position % this.#blockBytes;
      const count = Math.min(data.length - within, bytes.length - done);
      data.set(bytes.subarray(done, done + count), within);
      done += count;
    }
  }

  #arrived(run: readonly Block[], length: number): void {
    for (const block of run) block.coming = undefined;
    this.#comingBytes -= length;
    this.#evict();
  }

  /** Forget those used longest ago. Who has one keeps it. */
  #evict(): void {
    let excess = this.#blocks.size * this.#blockBytes - this.#comingBytes - this.#maxBytes;
    for (const [number, { coming }] of this.#blocks) {
      if (excess <= 0) return;
      if (coming !== undefined) continue;
      this.#blocks.delete(number);
      excess -= this.#blockBytes;
    }
  }

  #copy(
    blocks: readonly Block[],
    buffers: readonly Uint8Array[],
    offset: number,
    length: number,
  ): void {
    const skip = offset % this.#blockBytes;
    let at = 0;
    for (const buffer of buffers) {
      for (let done = 0; done < buffer.length && at < length; ) {
        const { data } = blocks[Math.floor((skip + at) / this.#blockBytes)];
        const within = (skip + at) % this.#blockBytes;
        const count = Math.min(data.length - within, buffer.length - done, length - at);
        buffer.set(data.subarray(within, within + count), done);
        done += count;
        at += count;
      }
    }
  }
}
