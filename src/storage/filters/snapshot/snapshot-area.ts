/**
 * What is kept of one snapshot: the blocks that were about to be overwritten while it was the newest
 * one, as they were.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import type { ObjectRequest, Settled } from '../../object/disk-object.ts';
import { settleAll } from '../../settle-all.ts';
import { runsOf } from '../blocks/block-runs.ts';
import { SharedFlush } from '../blocks/shared-flush.ts';
import { type BlockMap, BlockState } from '../side-file/block-map.ts';

/** See the module's comment. */
export class SnapshotArea {
  readonly map: BlockMap;
  readonly #side: DiskAccess;
  /** Where its first block is in the side file. */
  readonly #offset: number;
  readonly #blockBytes: number;
  readonly #flush: SharedFlush;

  constructor(map: BlockMap, side: DiskAccess, offset: number, blockBytes: number) {
    this.map = map;
    this.#side = side;
    this.#offset = offset;
    this.#blockBytes = blockBytes;
    this.#flush = new SharedFlush(() => map.flush(() => side.flush()));
  }

  has(block: number): boolean {
    return this.map.get(block) !== BlockState.ABSENT;
  }

  /** Read bytes of blocks that it has. */
  read(buffer: Uint8Array, offset: number, request?: ObjectRequest): Settled {
    const stateOf = (block: number): number => this.map.get(block);
    const runs = runsOf(offset, buffer.length, this.#blockBytes, stateOf);
    return settleAll(
      runs.map((run) => (): Settled => {
        const start = run.offset - offset;
        const part = buffer.subarray(start, start + run.length);
        if (run.kind === BlockState.DATA) {
          return this.#side.read(part, this.#offset + run.offset, request);
        }
        part.fill(0);
        return undefined;
      }),
    );
  }

  /** Keep a block that it has not. Safe after `makeSafe`. @param data - all of a block. */
  async keep(block: number, data: Uint8Array): Promise<void> {
    const isZero = data.every((byte) => byte === 0);
    if (!isZero) await this.#side.write(data, this.#offset + block * this.#blockBytes);
    this.map.set(block, block + 1, isZero ? BlockState.ZERO : BlockState.DATA);
  }

  /** Forget a block that the disk has still as it was. */
  forget(block: number): void {
    this.map.set(block, block + 1, BlockState.ABSENT);
  }

  /** What has been kept is there whatever happens. */
  makeSafe(): Promise<void> {
    return this.#flush.run();
  }

  /** Forget all, safely, and give the space back. */
  async clear(): Promise<void> {
    const { blocks } = this.map;
    this.map.set(0, blocks, BlockState.ABSENT);
    await this.makeSafe();
    await this.#side.discard(this.#offset, blocks * this.#blockBytes);
  }
}
