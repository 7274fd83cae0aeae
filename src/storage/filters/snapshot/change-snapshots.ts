/** Snapshots of a disk that is in use: how they are taken, dropped and written back. */
import type { DiskAccess } from '../../access/disk-access.ts';
import { StorageError } from '../../errors.ts';
import { forEachAtOnce } from '../../settle-all.ts';
import { type Piece, runsOf } from '../blocks/block-runs.ts';
import { sampleDisk } from '../side-file/disk-samples.ts';
import { SNAPSHOT_KIND } from './snapshot.ts';
import { checkSnapshotName, SnapshotState } from './snapshot-entry.ts';
import type { Snapshot } from './snapshot-file.ts';
import type { SnapshotObject } from './snapshot-object.ts';

/** Blocks that are moved at once, and bytes that are written back at a time. */
const AT_ONCE = 8;
const PIECE_BYTES = 2 ** 20;

/** Nothing else is done with the snapshots meanwhile. */
function exclusively(disk: SnapshotObject, action: () => Promise<void>): Promise<void> {
  return disk.changes.hold(0, action);
}

/** Throws a `StorageError` DISK_OPTION if there is none of that name. */
export function snapshotNamed(
  { file }: SnapshotObject,
  name: string,
  states: readonly number[] = [SnapshotState.KEPT],
): Snapshot {
  const there = file.snapshots.filter(({ state }) => states.includes(state));
  const found = there.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = there.map((each) => each.name).join(', ') || 'none';
  const problem = `there is no snapshot ${JSON.stringify(name)}, only: ${names}`;
  throw new StorageError('DISK_OPTION', `${SNAPSHOT_KIND}: ${problem}`);
}

/** Keep the disk as it is now. Safe when it resolves. */
export function take(disk: SnapshotObject, name: string): Promise<void> {
  checkSnapshotName(name);
  return exclusively(disk, async () => {
    const { file, base } = disk;
    if (file.snapshots.some((each) => each.name === name)) {
      throw new StorageError(
        'DISK_OPTION',
        `${SNAPSHOT_KIND}: there is a snapshot ${name} already`,
      );
    }
    const slot = file.freeSlot();
    if (slot === undefined) {
      const problem = `there are ${file.layout.max} snapshots already: drop one`;
      throw new StorageError('DISK_OPTION', `${SNAPSHOT_KIND}: ${problem}`);
    }
    const area = await file.openArea(slot, true);
    // What a crash may have left of the one before.
    await area.clear();
    await disk.gate.alone(async () => {
      // What is on the disk by now is in the snapshot, whatever happens.
      await base.flush();
      const samples = await sampleDisk(base);
      const number = 1 + (file.snapshots.at(-1)?.number ?? 0);
      const takenAt = Date.now();
      await file.add({ state: SnapshotState.KEPT, number, takenAt, samples, name, slot, area });
    });
  });
}

/** Forget a snapshot; others stay as they are. */
export function drop(disk: SnapshotObject, name: string): Promise<void> {
  return exclusively(disk, async () => {
    const snapshot = snapshotNamed(disk, name, [SnapshotState.KEPT, SnapshotState.DROPPING]);
    if (disk.views.has(snapshot.number)) {
      throw new StorageError('DISK_IN_USE', `${SNAPSHOT_KIND}: the snapshot ${name} is open`);
    }
    // Nothing is kept for it any more from here on: only so its blocks can be moved all.
    const dropping = await disk.gate.alone(() => disk.file.beginDrop(snapshot));
    await finishDrop(disk, dropping);
  });
}

/** Go on with what an earlier end has interrupted. Nobody uses the disk yet. */
export async function finishDrops(disk: SnapshotObject): Promise<void> {
  for (const snapshot of disk.file.snapshots) {
    if (snapshot.state === SnapshotState.DROPPING) await finishDrop(disk, snapshot);
  }
}

async function finishDrop(disk: SnapshotObject, snapshot: Snapshot): Promise<void> {
  const { file } = disk;
  const older = file.snapshots.findLast(({ number }) => number < snapshot.number);
  if (older !== undefined) await move(snapshot, older, disk.blockBytes);
  await disk.gate.alone(() => file.remove(snapshot));
  await snapshot.area.clear();
}

/** The older one reads what it has not from the newer one: from now on it has that itself. */
async function move({ area: from }: Snapshot, { area: to }: Snapshot, blockBytes: number) {
  const missing = function* (): Generator<number> {
    for (let block = 0; block < from.map.blocks; block++) {
      if (from.has(block) && !to.has(block)) yield block;
    }
  };
  await forEachAtOnce(missing(), AT_ONCE, async (block) => {
    const data = new Uint8Array(blockBytes);
    await from.read(data, block * blockBytes);
    await to.keep(block, data);
  });
  await to.makeSafe();
}

/**
 * Have the disk as it was when a snapshot was taken, by writing to it what has changed since.
 *
 * @param access - the disk, as those use it who write to it: later snapshots keep what they need.
 */
export function writeBack(disk: SnapshotObject, name: string, access: DiskAccess): Promise<void> {
  return exclusively(disk, async () => {
    const snapshot = snapshotNamed(disk, name);
    const areas = disk.areasFrom(snapshot);
    const isChanged = (block: number): boolean => areas.some((area) => area.has(block));
    const runs = runsOf(0, disk.sizeBytes, disk.blockBytes, isChanged);
    const changed = runs.filter(({ kind }) => kind);
    await forEachAtOnce(piecesOf(changed), AT_ONCE, async ({ offset, length }) => {
      const data = new Uint8Array(length);
      await disk.readSnapshot(snapshot, data, offset);
      await access.write(data, offset);
    });
    await access.flush();
  });
}

function* piecesOf(runs: readonly Piece[]): Generator<Piece> {
  for (const { offset, length } of runs) {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      yield { offset: offset + at, length: Math.min(PIECE_BYTES, length - at) };
    }
  }
}
