/**
 * The side file of the filter: room for so many snapshots. After the header come what there is to say
 * of each of them, then their maps of blocks, then room for all blocks of each, at their places; what
 * is not kept is a hole.
 */
import type { DiskAccess } from '../../access/disk-access.ts';
import { StorageError } from '../../errors.ts';
import { BlockMap, MAX_BLOCKS, mapBytes } from '../side-file/block-map.ts';
import { bootIdentity } from '../side-file/boot-identity.ts';
import {
  checkHeader,
  formatError,
  HEADER_PAGE_BYTES,
  readHeader,
  type SideHeader,
  type SideIdentity,
  writeHeader,
} from '../side-file/side-header.ts';
import { MAX_SNAPSHOTS, SNAPSHOT_BLOCKS, SNAPSHOT_KIND } from './snapshot.ts';
import { SnapshotArea } from './snapshot-area.ts';
import {
  decodeEntry,
  ENTRY_PAGE_BYTES,
  encodeEntry,
  type SnapshotEntry,
  SnapshotState,
} from './snapshot-entry.ts';

const DEFAULT_BLOCK_BYTES = 65536;
const DEFAULT_SNAPSHOTS = 8;
const NO_SAMPLES: readonly number[] = Array.from({ length: 8 }, () => 0);

/** How a side file is divided; what people may choose of a new one. */
export interface SnapshotLayout {
  readonly diskBytes: number;
  readonly blockBytes: number;
  /** Snapshots that there is room for. */
  readonly max: number;
}

/** What is asked of a side file; `undefined`: whatever it has. */
export type LayoutChoice = {
  readonly block?: number | undefined;
  readonly max?: number | undefined;
};

/** The layout of a new side file. Throws a `StorageError` if it cannot be. */
export function newLayout(
  { info }: Pick<DiskAccess, 'info'>,
  choice: LayoutChoice,
): SnapshotLayout {
  const { sizeBytes: diskBytes, logicalBlockBytes } = info;
  const { block, max = DEFAULT_SNAPSHOTS } = choice;
  const blockBytes = block ?? Math.max(DEFAULT_BLOCK_BYTES, logicalBlockBytes);
  if (blockBytes < logicalBlockBytes) {
    const problem = `block is ${blockBytes}: the disk below has blocks of ${logicalBlockBytes}`;
    throw new StorageError('DISK_OPTION', `${SNAPSHOT_KIND}: ${problem}`);
  }
  if (Math.ceil(diskBytes / blockBytes) > MAX_BLOCKS) {
    const problem = `a disk of ${diskBytes} bytes has too many blocks of ${blockBytes}`;
    throw new StorageError('DISK_OPTION', `${SNAPSHOT_KIND}: ${problem}: give a larger block`);
  }
  return { diskBytes, blockBytes, max };
}

/** Where the map and the blocks of a snapshot are. */
function placeOf(slot: number, { diskBytes, blockBytes, max }: SnapshotLayout) {
  const blocks = Math.ceil(diskBytes / blockBytes);
  const mapsAt = HEADER_PAGE_BYTES + max * ENTRY_PAGE_BYTES;
  const dataAt = Math.ceil((mapsAt + max * mapBytes(blocks)) / blockBytes) * blockBytes;
  return {
    map: mapsAt + slot * mapBytes(blocks),
    data: dataAt + slot * blocks * blockBytes,
    blocks,
  };
}

/** How large a side file is. */
export function snapshotFileBytes(layout: SnapshotLayout): number {
  return placeOf(layout.max, layout).data;
}

/** A snapshot, with what is kept of it. */
export interface Snapshot extends SnapshotEntry {
  readonly slot: number;
  readonly area: SnapshotArea;
}

/** See the module's comment. */
export class SnapshotFile {
  readonly side: DiskAccess;
  readonly layout: SnapshotLayout;
  readonly identity: SideIdentity;
  /** In the order in which they were taken. */
  snapshots: readonly Snapshot[] = [];

  private constructor(side: DiskAccess, layout: SnapshotLayout, identity: SideIdentity) {
    this.side = side;
    this.layout = layout;
    this.identity = identity;
  }

  /**
   * Open a side file, or make one if it is full of zeros. Rejects with a `StorageError` if it is
   * damaged, or has another layout than asked for.
   *
   * @param boot - which run of the machine this is.
   */
  static async open(
    side: DiskAccess,
    base: DiskAccess,
    choice: LayoutChoice,
    path: string,
    boot: Buffer = bootIdentity(),
  ): Promise<SnapshotFile> {
    const identity: SideIdentity = { path, kind: SNAPSHOT_KIND };
    const found = await readHeader(side, identity);
    const header = found ?? newHeader(newLayout(base, choice), boot);
    checkHeader(header, base.info.sizeBytes, SNAPSHOT_BLOCKS, identity);
    const layout = layoutOf(header, identity);
    checkChoice(layout, choice, path);
    checkSize(side, layout, identity);
    const file = new SnapshotFile(side, layout, identity);
    const isSameBoot = boot.equals(header.boot);
    if (found !== undefined) await file.#load(isSameBoot);
    if (!side.info.readOnly) await file.#begin({ ...header, boot });
    return file;
  }

  async #load(isSameBoot: boolean): Promise<void> {
    const snapshots: Snapshot[] = [];
    for (let slot = 0; slot < this.layout.max; slot++) {
      const page = Buffer.alloc(ENTRY_PAGE_BYTES);
      await this.side.read(page, HEADER_PAGE_BYTES + slot * ENTRY_PAGE_BYTES);
      const entry = decodeEntry(page, this.identity);
      if (entry === undefined) continue;
      const isTwice = snapshots.some(
        ({ name, number }) => name === entry.name || number === entry.number,
      );
      if (isTwice) {
        const problem = `it has two snapshots ${entry.name}: restore it from a backup`;
        throw formatError(this.identity, problem);
      }
      snapshots.push({ ...entry, slot, area: await this.openArea(slot, isSameBoot) });
    }
    this.snapshots = snapshots.sort((one, other) => one.number - other.number);
  }

  /**
   * What other requests rely on is safe from the beginning: a block that is kept may be overwritten
   * at once.
   */
  async #begin(header: SideHeader): Promise<void> {
    for (const { area } of this.snapshots) await area.makeSafe();
    await writeHeader(this.side, SNAPSHOT_KIND, header);
    await this.side.flush();
  }

  /** What is kept in a slot. */
  async openArea(slot: number, isSameBoot: boolean): Promise<SnapshotArea> {
    const { side, layout, identity } = this;
    const place = placeOf(slot, layout);
    const map = await BlockMap.load(side, place.map, place.blocks, isSameBoot, identity);
    return new SnapshotArea(map, side, place.data, layout.blockBytes);
  }

  /** A slot without a snapshot; `undefined`: there is none. */
  freeSlot(): number | undefined {
    const taken = new Set(this.snapshots.map(({ slot }) => slot));
    for (let slot = 0; slot < this.layout.max; slot++) if (!taken.has(slot)) return slot;
    return undefined;
  }

  /**
   * Add the newest snapshot, safely. If that fails it may be in the file, or not: it is one from now
   * on all the same, so that it is right if it is.
   */
  async add(snapshot: Snapshot): Promise<void> {
    this.snapshots = [...this.snapshots, snapshot];
    await this.#write(snapshot.slot, snapshot);
  }

  /** Say, safely, that a snapshot is being dropped. */
  async beginDrop(snapshot: Snapshot): Promise<Snapshot> {
    const dropping = { ...snapshot, state: SnapshotState.DROPPING };
    await this.#write(snapshot.slot, dropping);
    this.snapshots = this.snapshots.map((each) => (each === snapshot ? dropping : each));
    return dropping;
  }

  /** Remove a snapshot, safely. Nobody needs its blocks any more. */
  async remove(snapshot: Snapshot): Promise<void> {
    await this.#write(snapshot.slot, undefined);
    this.snapshots = this.snapshots.filter((each) => each !== snapshot);
  }

  async #write(slot: number, entry: SnapshotEntry | undefined): Promise<void> {
    await this.side.write(encodeEntry(entry), HEADER_PAGE_BYTES + slot * ENTRY_PAGE_BYTES);
    await this.side.flush();
  }
}

function newHeader({ diskBytes, blockBytes, max }: SnapshotLayout, boot: Buffer): SideHeader {
  return { blockBytes, diskBytes, state: 0, boot, samples: NO_SAMPLES, number: max };
}

function layoutOf(header: SideHeader, identity: SideIdentity): SnapshotLayout {
  const { diskBytes, blockBytes, number: max } = header;
  const isPossible = Number.isInteger(max) && max >= 1 && max <= MAX_SNAPSHOTS;
  if (isPossible && Math.ceil(diskBytes / blockBytes) <= MAX_BLOCKS) {
    return { diskBytes, blockBytes, max };
  }
  throw formatError(identity, `its header is damaged: room for ${max} snapshots`);
}

function checkChoice(layout: SnapshotLayout, { block, max }: LayoutChoice, path: string): void {
  const check = (name: string, asked: number | undefined, has: number): void => {
    if (asked === undefined || asked === has) return;
    const problem = `${name} is ${asked}, but ${path} has ${has}: leave it out`;
    throw new StorageError('DISK_OPTION', `${SNAPSHOT_KIND}: ${problem}`);
  };
  check('block', block, layout.blockBytes);
  check('max', max, layout.max);
}

/** A file that was truncated has lost blocks. */
function checkSize(side: DiskAccess, layout: SnapshotLayout, identity: SideIdentity): void {
  const expected = snapshotFileBytes(layout);
  if (side.info.sizeBytes >= expected) return;
  const sizes = `it has ${side.info.sizeBytes} bytes in place of ${expected}`;
  throw formatError(identity, `${sizes}: restore it from a backup`);
}
