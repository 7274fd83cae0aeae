/** The demo's disk image and what is written to it. */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readSync } from 'node:fs';

/** Bytes of a write, and of the unit that is verified. */
export const BLOCK_BYTES: number = 64 * 1024;

/** A sparse image: it takes room on the disk as it is written. */
export function makeImage(path: string, sizeBytes: number): void {
  const fd = openSync(path, 'wx');
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
}

/** Random blocks, made again from a seed: what is expected need not be kept. */
export class Pattern {
  readonly #seed = randomBytes(16);

  /** The contents of block `index`. */
  block(index: number): Buffer {
    const block = Buffer.alloc(BLOCK_BYTES);
    const digest = createHash('sha256').update(this.#seed).update(String(index)).digest();
    block.fill(digest);
    block.writeUInt32LE(index, 0);
    return block;
  }

  /** Number of the first of `count` blocks in the file at `path` that is not as written, or -1. */
  firstWrongBlock(path: string, count: number): number {
    const fd = openSync(path, 'r');
    const found = Buffer.alloc(BLOCK_BYTES);
    try {
      for (let index = 0; index < count; index++) {
        readSync(fd, found, 0, BLOCK_BYTES, index * BLOCK_BYTES);
        if (!found.equals(this.block(index))) return index;
      }
      return -1;
    } finally {
      closeSync(fd);
    }
  }
}
