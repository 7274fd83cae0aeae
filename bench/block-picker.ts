/** Which block of a disk comes next: the pattern of a workload. */
import type { Workload } from './workload.ts';

/** See the module's comment. */
export class BlockPicker {
  readonly #blockBytes: number;
  readonly #blocks: number;
  readonly #isSequential: boolean;
  #random = 0x9e3779b9;
  #nextBlock = 0;

  constructor(workload: Workload, diskBytes: number) {
    this.#blockBytes = workload.blockBytes;
    this.#blocks = diskBytes / workload.blockBytes;
    this.#isSequential = workload.pattern === 'sequential';
  }

  /** Offset of the next block, in bytes. */
  next(): number {
    return (this.#isSequential ? this.#nextInOrder() : this.#nextRandom()) * this.#blockBytes;
  }

  #nextInOrder(): number {
    this.#nextBlock = (this.#nextBlock + 1) % this.#blocks;
    return this.#nextBlock;
  }

  #nextRandom(): number {
    // xorshift32
    let random = this.#random;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.#random = random;
    return (random >>> 0) % this.#blocks;
  }
}
