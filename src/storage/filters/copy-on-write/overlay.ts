/**
 * An overlay: the blocks of a disk that were written, in a side file. After the header come the map of
 * blocks and then room for each block, at its place; what was never written is a hole.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import { StorageError } from '../../errors.ts';
import { BlockMap, BlockState, MAX_BLOCKS, mapBytes } from '../side-file/block-map.ts';
import { bootIdentity } from '../side-file/boot-identity.ts';
import { sampleDisk, samplePlaces } from '../side-file/disk-samples.ts';
import {
  checkHeader,
  formatError,
  HEADER_PAGE_BYTES,
  readHeader,
  type SideHeader,
  type SideIdentity,
  writeHeader,
} from '../side-file/side-header.ts';
import { OVERLAY_BLOCKS, OVERLAY_KIND } from './copy-on-write.ts';

/** States of an overlay, in its header. */
export const OverlayState = {
  IN_USE: 0,
  /** It is being written to the disk below: that one is partly old and partly new. */
  COMMITTING: 1,
} as const;

/** Blocks of a new overlay, unless somebody says otherwise. */
export function defaultBlockBytes({ info }: Pick<DiskAccess, 'info'>): number {
  return Math.max(65536, info.logicalBlockBytes);
}

/** Where the blocks begin in a side file. */
function dataOffset(diskBytes: number, blockBytes: number): number {
  const blocks = Math.ceil(diskBytes / blockBytes);
  const end = HEADER_PAGE_BYTES + mapBytes(blocks);
  return Math.ceil(end / blockBytes) * blockBytes;
}

/** How large the side file of a disk is. Throws a `StorageError` if there were too many blocks. */
export function overlayBytes(diskBytes: number, blockBytes: number): number {
  if (Math.ceil(diskBytes / blockBytes) > MAX_BLOCKS) {
    const problem = `a disk of ${diskBytes} bytes has too many blocks of ${blockBytes}`;
    throw new StorageError('DISK_OPTION', `${OVERLAY_KIND}: ${problem}: give a larger block`);
  }
  return dataOffset(diskBytes, blockBytes) + diskBytes;
}

/** See the module's comment. */
export class Overlay {
  readonly side: DiskAccess;
  readonly map: BlockMap;
  readonly diskBytes: number;
  readonly blockBytes: number;
  /** Where the disk's first byte is in the side file. */
  readonly dataOffset: number;
  readonly #isScratch: boolean;
  #state: number;

  private constructor(
    side: DiskAccess,
    map: BlockMap,
    diskBytes: number,
    blockBytes: number,
    state: number | 'scratch',
  ) {
    this.side = side;
    this.map = map;
    this.diskBytes = diskBytes;
    this.blockBytes = blockBytes;
    this.dataOffset = dataOffset(diskBytes, blockBytes);
    this.#isScratch = state === 'scratch';
    this.#state = state === 'scratch' ? OverlayState.IN_USE : state;
  }

  /** One that is thrown away: what is where is in memory only. @param side - full of zeros. */
  static scratch(side: DiskAccess, base: DiskAccess, blockBytes: number): Overlay {
    const { sizeBytes } = base.info;
    const map = BlockMap.inMemory(Math.ceil(sizeBytes / blockBytes));
    return new Overlay(side, map, sizeBytes, blockBytes, 'scratch');
  }

  /**
   * Open the overlay that is in a side file, or make one if the file is full of zeros. Rejects with a
   * `StorageError` if it is damaged, or not one of this base.
   *
   * @param blockBytes - what its blocks have to be; `undefined`: what they are.
   * @param boot - which run of the machine this is.
   */
  static async open(
    side: DiskAccess,
    base: DiskAccess,
    blockBytes: number | undefined,
    path: string,
    boot: Buffer = bootIdentity(),
  ): Promise<Overlay> {
    const identity: SideIdentity = { path, kind: OVERLAY_KIND };
    const found = await readHeader(side, identity);
    const header = found ?? (await newHeader(base, blockBytes ?? defaultBlockBytes(base), boot));
    checkHeader(header, base.info.sizeBytes, OVERLAY_BLOCKS, identity);
    checkSize(side, header, identity);
    if (blockBytes !== undefined && blockBytes !== header.blockBytes) {
      const blocks = `block is ${blockBytes}, but ${path} has blocks of ${header.blockBytes}`;
      throw new StorageError('DISK_OPTION', `${OVERLAY_KIND}: ${blocks}: leave it out`);
    }
    const isSameBoot = boot.equals(header.boot);
    const { diskBytes, state } = header;
    const blocks = Math.ceil(diskBytes / header.blockBytes);
    const map = await BlockMap.load(side, HEADER_PAGE_BYTES, blocks, isSameBoot, identity);
    const overlay = new Overlay(side, map, diskBytes, header.blockBytes, state);
    if (found !== undefined) await overlay.#checkBase(base, header, identity);
    if (!side.info.readOnly && (found === undefined || !isSameBoot)) {
      await overlay.#begin({ ...header, boot });
    }
    return overlay;
  }

  /** Other states than this run of the machine's are out of the file before the header says so. */
  async #begin(header: SideHeader): Promise<void> {
    await this.map.saveAll();
    await this.side.flush();
    await writeHeader(this.side, OVERLAY_KIND, header);
    await this.side.flush();
  }

  /** Whether the base is what it was. Where it is being replaced by the overlay, nobody can tell. */
  async #checkBase(base: DiskAccess, header: SideHeader, identity: SideIdentity): Promise<void> {
    const samples = await sampleDisk(base);
    const isAsBefore = samplePlaces(base).every(({ offset, length }, index) => {
      if (samples[index] === header.samples[index]) return true;
      return header.state === OverlayState.COMMITTING && this.#touches(offset, length);
    });
    if (isAsBefore) return;
    const problem = 'the disk below is another one, or has been written since';
    throw formatError(identity, `${problem}: the overlay makes no sense on it`);
  }

  #touches(offset: number, length: number): boolean {
    const end = Math.ceil((offset + length) / this.blockBytes);
    for (let block = Math.floor(offset / this.blockBytes); block < end; block++) {
      if (this.map.get(block) !== BlockState.ABSENT) return true;
    }
    return false;
  }

  get isCommitting(): boolean {
    return this.#state === OverlayState.COMMITTING;
  }

  /** Make safe all that has been written. */
  async flush(): Promise<void> {
    if (this.#isScratch) return;
    await this.map.flush(() => this.side.flush());
  }

  /** Say, safely, that it is being committed; or that the base, as it is now, is its base. */
  async setState(state: number, base: DiskAccess): Promise<void> {
    const { diskBytes, blockBytes } = this;
    const samples = await sampleDisk(base);
    const header = { blockBytes, diskBytes, state, samples, boot: bootIdentity(), number: 0 };
    await writeHeader(this.side, OVERLAY_KIND, header);
    await this.side.flush();
    this.#state = state;
  }
}

async function newHeader(base: DiskAccess, blockBytes: number, boot: Buffer): Promise<SideHeader> {
  return {
    blockBytes,
    diskBytes: base.info.sizeBytes,
    state: OverlayState.IN_USE,
    boot,
    samples: await sampleDisk(base),
    number: 0,
  };
}

/** A file that was truncated has lost blocks. */
function checkSize(side: DiskAccess, header: SideHeader, identity: SideIdentity): void {
  const expected = overlayBytes(header.diskBytes, header.blockBytes);
  if (side.info.sizeBytes >= expected) return;
  const sizes = `it has ${side.info.sizeBytes} bytes in place of ${expected}`;
  throw formatError(identity, `${sizes}: restore it from a backup`);
}
