/** Snapshots of an open disk that has the filter `snapshot`, while it may be in use. */
import { openAccess } from '../../access/open-access.ts';
import type { Disk } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import { findObjectDisk } from '../../object/find-object.ts';
import { ObjectDisk } from '../../object/object-disk.ts';
import { drop, snapshotNamed, take, writeBack } from './change-snapshots.ts';
import { SNAPSHOT_KIND } from './snapshot.ts';
import { SnapshotState } from './snapshot-entry.ts';
import { SnapshotObject } from './snapshot-object.ts';
import { SnapshotView } from './snapshot-view.ts';

/** A snapshot, as `listSnapshots` tells of it. */
export interface SnapshotSummary {
  readonly name: string;
  readonly takenAt: Date;
  /** What is kept of it: what was overwritten while it was the newest one. */
  readonly keptBytes: number;
}

function snapshotsOf(disk: Disk): { readonly disk: Disk; readonly object: SnapshotObject } {
  const found = findObjectDisk(disk, SnapshotObject);
  if (found !== undefined) return found;
  const expected = `expected ${SNAPSHOT_KIND}(..., file=<path>)`;
  throw new StorageError('DISK_OPTION', `the disk has no snapshots: ${expected}`);
}

/** As `snapshotsOf`, for what changes them. */
function writableSnapshotsOf(disk: Disk): ReturnType<typeof snapshotsOf> {
  const found = snapshotsOf(disk);
  if (!found.disk.info.readOnly) return found;
  const problem = 'the disk is read-only: its snapshots cannot be changed';
  throw new StorageError('DISK_OPTION', `${SNAPSHOT_KIND}: ${problem}`);
}

/**
 * Keep the disk as it is: with all writes that have been answered, and none that come later. Waits for
 * requests under way, and holds back others meanwhile. Safe when it resolves; if it rejects, there may
 * be a snapshot or not.
 *
 * @param name - 1 to 64 letters, digits, `.`, `_` or `-`.
 * @throws StorageError DISK_OPTION if there is one of that name, or no room for more.
 */
export async function takeSnapshot(disk: Disk, name: string): Promise<void> {
  await take(writableSnapshotsOf(disk).object, name);
}

/** The snapshots of a disk, the oldest first. */
export function listSnapshots(disk: Disk): SnapshotSummary[] {
  const { object } = snapshotsOf(disk);
  const kept = object.file.snapshots.filter(({ state }) => state === SnapshotState.KEPT);
  return kept.map(({ name, takenAt, area }) => ({
    name,
    takenAt: new Date(takenAt),
    keptBytes: area.map.count().data * object.blockBytes,
  }));
}

/**
 * Forget a snapshot, and give its space back; others stay as they are. If it is interrupted, it goes
 * on when the disk is opened again.
 *
 * @throws StorageError DISK_OPTION if there is none of that name, DISK_IN_USE if it is open.
 */
export async function dropSnapshot(disk: Disk, name: string): Promise<void> {
  await drop(writableSnapshotsOf(disk).object, name);
}

/**
 * Have the disk as it was when a snapshot was taken; all snapshots stay, the later ones too. Nobody
 * else may write to the disk meanwhile. If it is interrupted, the disk is partly as before: do it
 * again.
 *
 * @throws StorageError DISK_OPTION if there is none of that name; and what writing fails with.
 */
export async function rollBack(disk: Disk, name: string): Promise<void> {
  const found = writableSnapshotsOf(disk);
  const access = openAccess(found.disk);
  try {
    await writeBack(found.object, name, access);
  } finally {
    access.close();
  }
}

/**
 * The disk as it was when a snapshot was taken, to read only; the disk itself stays in use. To be
 * closed before it. Until then the snapshot cannot be dropped.
 *
 * @throws StorageError DISK_OPTION if there is none of that name.
 */
export function openSnapshot(disk: Disk, name: string): Disk {
  const { object } = snapshotsOf(disk);
  const snapshot = snapshotNamed(object, name);
  const { views } = object;
  const { number } = snapshot;
  views.set(number, (views.get(number) ?? 0) + 1);
  const view = new SnapshotView(object, snapshot, () => {
    const left = (views.get(number) ?? 1) - 1;
    if (left > 0) views.set(number, left);
    else views.delete(number);
  });
  return new ObjectDisk(view, { kind: SNAPSHOT_KIND, readOnly: true, needsOutside: undefined });
}
