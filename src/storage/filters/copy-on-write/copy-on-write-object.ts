/**
 * A disk over a base that is never written: blocks are read from the overlay where it has them, else
 * from the base; the first write to a part of a block copies the rest of it.
 */
import { Errno, SystemError } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import type { DiskObject, ObjectRequest, Settled } from '../../object/disk-object.ts';
import { settleAll } from '../../settle-all.ts';
import { BlockLocks } from '../blocks/block-locks.ts';
import { type Piece, type Run, runsOf, wholeAndEdges } from '../blocks/block-runs.ts';
import { BlockState } from '../side-file/block-map.ts';
import type { Overlay } from './overlay.ts';

/** See the module's comment. */
export class CopyOnWriteObject implements DiskObject {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly description: string;
  readonly #base: DiskAccess;
  readonly #overlay: Overlay;
  /** Held while a block is copied. */
  readonly #locks = new BlockLocks();
  #flushing: Promise<void> = Promise.resolve();

  constructor(base: DiskAccess, overlay: Overlay, description: string) {
    this.#base = base;
    this.#overlay = overlay;
    this.sizeBytes = overlay.diskBytes;
    const { info } = base;
    this.logicalBlockBytes = Math.max(info.logicalBlockBytes, overlay.side.info.logicalBlockBytes);
    this.physicalBlockBytes = Math.max(info.physicalBlockBytes, this.logicalBlockBytes);
    this.description = description;
  }

  #stateAt(offset: number): number {
    const { map, blockBytes } = this.#overlay;
    return map.get(Math.floor(offset / blockBytes));
  }

  /**
   * Reads are given up with their requests. Nothing else is: what a write has begun, with the table of
   * blocks, comes to its end.
   */
  read(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled {
    const { map, blockBytes } = this.#overlay;
    const runs = runsOf(offset, buffer.length, blockBytes, (block) => map.get(block));
    if (runs.length === 1) return this.#readRun(runs[0], buffer, request);
    return settleAll(
      runs.map((run) => () => this.#readRun(run, partOf(buffer, offset, run), request)),
    );
  }

  #readRun({ offset, kind }: Run<number>, part: Uint8Array, request: ObjectRequest): Settled {
    const { side, dataOffset } = this.#overlay;
    if (kind === BlockState.DATA) return side.read(part, dataOffset + offset, request);
    if (kind === BlockState.ABSENT) return this.#base.read(part, offset, request);
    part.fill(0);
    return undefined;
  }

  write(buffer: Uint8Array, offset: number): Settled {
    const { blockBytes, diskBytes, side, dataOffset } = this.#overlay;
    const { edges } = wholeAndEdges(offset, buffer.length, blockBytes, diskBytes);
    const copies = edges.filter((edge) => this.#stateAt(edge.offset) !== BlockState.DATA);
    let start = offset;
    let end = offset + buffer.length;
    for (const edge of copies) {
      if (edge.offset === start) start += edge.length;
      else end = edge.offset;
    }
    const rest: Piece = { offset: start, length: end - start };
    if (copies.length === 0) return this.#writeWhole(buffer, rest);
    const tasks: (() => Settled)[] = copies.map((edge) => () => {
      const part = partOf(buffer, offset, edge);
      const inPlace = (): Settled => side.write(part, dataOffset + edge.offset);
      return this.#copyUp(edge, (copy) => copy.set(part), inPlace);
    });
    if (rest.length > 0) tasks.push(() => this.#writeWhole(partOf(buffer, offset, rest), rest));
    return settleAll(tasks);
  }

  /** Write blocks of which the overlay has all, or gets all. */
  #writeWhole(part: Uint8Array, { offset, length }: Piece): Settled {
    const { side, dataOffset, map, blockBytes } = this.#overlay;
    const first = Math.floor(offset / blockBytes);
    const end = Math.ceil((offset + length) / blockBytes);
    const written = side.write(part, dataOffset + offset);
    if (map.isAll(first, end, BlockState.DATA)) return written;
    return this.#markWhole(written, first, end);
  }

  async #markWhole(written: Settled, first: number, end: number): Promise<void> {
    const { map } = this.#overlay;
    await written;
    map.set(first, end, BlockState.DATA);
    await map.save(first, end);
  }

  /**
   * Have a block in the overlay, with a part of it changed.
   *
   * @param fill - changes the part, in a copy of it.
   * @param inPlace - changes it if the overlay has the block by then.
   */
  #copyUp(edge: Piece, fill: (part: Uint8Array) => void, inPlace: () => Settled): Promise<void> {
    const { map, side, dataOffset, blockBytes, diskBytes } = this.#overlay;
    const block = Math.floor(edge.offset / blockBytes);
    return this.#locks.hold(block, async () => {
      const state = map.get(block);
      if (state === BlockState.DATA) return inPlace();
      const start = block * blockBytes;
      const copy = new Uint8Array(Math.min(blockBytes, diskBytes - start));
      if (state === BlockState.ABSENT) await this.#base.read(copy, start);
      fill(partOf(copy, start, edge));
      await side.write(copy, dataOffset + start);
      map.set(block, block + 1, BlockState.DATA);
      await map.save(block, block + 1);
    });
  }

  flush(): Promise<void> {
    const flushed = this.#flushing.then(() => this.#overlay.flush());
    this.#flushing = flushed.catch(() => {});
    return flushed;
  }

  /** Parts of blocks that are in the base only stay as they are. */
  discard(offset: number, length: number): Settled {
    return this.#clear(offset, length, () => undefined);
  }

  writeZeroes(offset: number, length: number, request: ObjectRequest): Settled {
    const { side, dataOffset, blockBytes, diskBytes } = this.#overlay;
    const { edges } = wholeAndEdges(offset, length, blockBytes, diskBytes);
    const isSlow = edges.some((edge) => this.#stateAt(edge.offset) === BlockState.ABSENT);
    if (isSlow && request.mustBeFast) throw new SystemError('writeZeroes', Errno.EOPNOTSUPP);
    return this.#clear(offset, length, (edge) => {
      const inPlace = (): Settled => side.writeZeroes(dataOffset + edge.offset, edge.length);
      return this.#copyUp(edge, (part) => part.fill(0), inPlace);
    });
  }

  /** @param clearAbsent - what becomes of a part of a block that the overlay has not. */
  #clear(offset: number, length: number, clearAbsent: (edge: Piece) => Settled): Settled {
    const { side, dataOffset, blockBytes, diskBytes } = this.#overlay;
    const { first, end, edges } = wholeAndEdges(offset, length, blockBytes, diskBytes);
    const tasks = edges.map((edge) => (): Settled => {
      const state = this.#stateAt(edge.offset);
      if (state === BlockState.ABSENT) return clearAbsent(edge);
      if (state === BlockState.ZERO) return undefined;
      return side.writeZeroes(dataOffset + edge.offset, edge.length, { mayUnmap: true });
    });
    if (first < end) tasks.push(() => this.#clearWhole(first, end));
    return settleAll(tasks);
  }

  async #clearWhole(first: number, end: number): Promise<void> {
    const { map, side, dataOffset, blockBytes, diskBytes } = this.#overlay;
    const start = first * blockBytes;
    const length = Math.min(end * blockBytes, diskBytes) - start;
    const runs = runsOf(start, length, blockBytes, (block) => map.get(block));
    map.set(first, end, BlockState.ZERO);
    await map.save(first, end);
    const used = runs.filter(({ kind }) => kind === BlockState.DATA);
    await settleAll(used.map((run) => () => side.discard(dataOffset + run.offset, run.length)));
  }

  /** What is written is in the overlay's file whatever becomes of the machine later. */
  async close(): Promise<void> {
    if (!this.#overlay.side.info.readOnly) await this.flush();
  }
}

/** A piece of a disk, in a buffer that begins at `offset` of it. */
function partOf(buffer: Uint8Array, offset: number, piece: Piece): Uint8Array {
  return buffer.subarray(piece.offset - offset, piece.offset - offset + piece.length);
}
