/**
 * A disk that is used while its snapshots stay as they are: before a block is overwritten that the
 * newest snapshot has not, the old one is kept for it, safely.
 *
 * A snapshot has a block where the first of it and the later ones has it that keeps it at all; what
 * none of them keeps is on the disk as it was.
 */
import { Errno, SystemError } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import type { DiskObject, ObjectRequest, Settled } from '../../object/disk-object.ts';
import { forEachAtOnce, settleAll } from '../../settle-all.ts';
import { BlockLocks } from '../blocks/block-locks.ts';
import { runsOf } from '../blocks/block-runs.ts';
import { RequestGate } from '../blocks/request-gate.ts';
import type { SnapshotArea } from './snapshot-area.ts';
import { SnapshotState } from './snapshot-entry.ts';
import type { Snapshot, SnapshotFile } from './snapshot-file.ts';

/** Kept with one flush, at most. */
const PIECE_BYTES = 2 ** 22;
/** Blocks that are copied at once. */
const AT_ONCE = 8;

/** See the module's comment. */
export class SnapshotObject implements DiskObject {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly minIoBytes: number;
  readonly optimalIoBytes: number;
  readonly honoursStable = true;
  readonly base: DiskAccess;
  readonly file: SnapshotFile;
  /** Closed while the list of snapshots changes. */
  readonly gate = new RequestGate();
  /** Held while something is done with the snapshots: one thing at a time. */
  readonly changes = new BlockLocks();
  /** Disks that are open on a snapshot, by its number. */
  readonly views = new Map<number, number>();
  readonly flush?: (request: ObjectRequest) => Settled;
  readonly discard?: (offset: number, length: number, request: ObjectRequest) => Settled;
  /** Held while a block is kept. */
  readonly #locks = new BlockLocks();

  constructor(base: DiskAccess, file: SnapshotFile) {
    const { info } = base;
    this.base = base;
    this.file = file;
    this.sizeBytes = info.sizeBytes;
    this.logicalBlockBytes = info.logicalBlockBytes;
    this.physicalBlockBytes = info.physicalBlockBytes;
    this.minIoBytes = info.minIoBytes;
    this.optimalIoBytes = info.optimalIoBytes;
    if (info.writeBack) this.flush = (request) => base.flush(request);
    if (info.canDiscard) {
      this.discard = (offset, length, request) =>
        this.#change(offset, length, () => base.discard(offset, length, request));
    }
  }

  get description(): string {
    const { layout, identity, snapshots } = this.file;
    const count = `${snapshots.length} of at most ${layout.max} snapshots`;
    return `${count} are in ${identity.path}, in blocks of ${layout.blockBytes} bytes`;
  }

  /**
   * What is asked of the disk below is given up with its request. What is kept for snapshots is not: it
   * is there, and safe, before anything of the request is done.
   */
  read(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled {
    return this.base.read(buffer, offset, request);
  }

  write(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled {
    return this.#change(offset, buffer.length, () => this.base.write(buffer, offset, request));
  }

  writeZeroes(offset: number, length: number, request: ObjectRequest): Settled {
    const change = (): Settled => this.base.writeZeroes(offset, length, request);
    return this.#change(offset, length, change, request.mustBeFast);
  }

  #change(offset: number, length: number, change: () => Settled, mustBeFast = false): Settled {
    return this.gate.pass(() => {
      const first = Math.floor(offset / this.blockBytes);
      const end = Math.ceil((offset + length) / this.blockBytes);
      const keepers = this.#keepers();
      if (keepers.length === 0) return change();
      for (let block = first; block < end; block++) {
        if (this.#locks.isFree(block) && isKept(keepers, block)) continue;
        if (mustBeFast) throw new SystemError('writeZeroes', Errno.EOPNOTSUPP);
        return this.#keepAll(keepers, block, end).then(change);
      }
      return change();
    });
  }

  get blockBytes(): number {
    return this.file.layout.blockBytes;
  }

  /**
   * Where a block can be for the newest snapshot: first its own area, which is where it will be kept,
   * then those of later ones that are being dropped. None if there is no snapshot.
   */
  #keepers(): SnapshotArea[] {
    const { snapshots } = this.file;
    const newest = snapshots.findLastIndex(({ state }) => state === SnapshotState.KEPT);
    return newest < 0 ? [] : snapshots.slice(newest).map(({ area }) => area);
  }

  async #keepAll(keepers: readonly SnapshotArea[], first: number, end: number): Promise<void> {
    const step = Math.max(1, PIECE_BYTES / this.blockBytes);
    for (let start = first; start < end; start += step) {
      const stop = Math.min(end, start + step);
      await this.#lockAll(start, stop, () => this.#keep(keepers, start, stop));
    }
  }

  /** In ascending order: so nobody waits for one who waits for him. */
  #lockAll(first: number, end: number, action: () => Promise<void>): Promise<void> {
    return this.#locks.hold(first, () =>
      first + 1 === end ? action() : this.#lockAll(first + 1, end, action),
    );
  }

  /** What is kept is safe before anything is overwritten. */
  async #keep(keepers: readonly SnapshotArea[], first: number, end: number): Promise<void> {
    const missing: number[] = [];
    for (let block = first; block < end; block++) {
      if (!isKept(keepers, block)) missing.push(block);
    }
    if (missing.length === 0) return;
    const [area] = keepers;
    try {
      await forEachAtOnce(missing, AT_ONCE, async (block) => {
        await area.keep(block, await this.#readBlock(block));
      });
      await area.makeSafe();
    } catch (error) {
      // The disk has them still, and they are not safe: the next one has to try again.
      for (const block of missing) area.forget(block);
      throw error;
    }
  }

  /** A block of the disk; the last one is made whole with zeros. */
  async #readBlock(block: number): Promise<Uint8Array> {
    const start = block * this.blockBytes;
    const data = new Uint8Array(this.blockBytes);
    await this.base.read(data.subarray(0, Math.min(data.length, this.sizeBytes - start)), start);
    return data;
  }

  /** Read what was there when a snapshot was taken. */
  readSnapshot(
    snapshot: Snapshot,
    buffer: Uint8Array,
    offset: number,
    request?: ObjectRequest,
  ): Settled {
    return this.gate.pass(() => this.#readOld(snapshot, buffer, offset, request));
  }

  async #readOld(
    snapshot: Snapshot,
    buffer: Uint8Array,
    offset: number,
    request: ObjectRequest | undefined,
  ): Promise<void> {
    const { blockBytes } = this;
    const areas = this.areasFrom(snapshot);
    const placeOf = (block: number) => areas.find((area) => area.has(block));
    const runs = runsOf(offset, buffer.length, blockBytes, placeOf);
    const read = (place: SnapshotArea | undefined, start: number, length: number): Settled => {
      const part = buffer.subarray(start - offset, start - offset + length);
      return (place ?? this.base).read(part, start, request);
    };
    await settleAll(runs.map((run) => () => read(run.kind, run.offset, run.length)));
    // What was overwritten while it was read was kept before.
    const doubtful = runs
      .filter(({ kind }) => kind === undefined)
      .flatMap((run) => runsOf(run.offset, run.length, blockBytes, placeOf))
      .filter(({ kind }) => kind !== undefined);
    await settleAll(doubtful.map((run) => () => read(run.kind, run.offset, run.length)));
  }

  /** Where the blocks of a snapshot can be that are not on the disk: the first that has one. */
  areasFrom({ number }: Snapshot): SnapshotArea[] {
    return this.file.snapshots.filter((each) => each.number >= number).map(({ area }) => area);
  }
}

function isKept(keepers: readonly SnapshotArea[], block: number): boolean {
  return keepers.some((area) => area.has(block));
}
