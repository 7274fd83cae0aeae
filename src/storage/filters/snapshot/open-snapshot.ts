/** Opens disks that snapshots can be taken of. */
import { existsSync } from 'node:fs';
import type { Disk } from '../../disk.ts';
import type { OpenContext } from '../../plan/disk-kind.ts';
import { openOverSide } from '../side-file/open-over-side.ts';
import { openScratchDisk, openSideDisk } from '../side-file/side-disk.ts';
import { finishDrops, snapshotNamed } from './change-snapshots.ts';
import { SNAPSHOT_KIND, type SnapshotParameters } from './snapshot.ts';
import { newLayout, SnapshotFile, snapshotFileBytes } from './snapshot-file.ts';
import { SnapshotObject } from './snapshot-object.ts';
import { checkSnapshots, SnapshotView } from './snapshot-view.ts';

/** See the kind. */
export async function openSnapshots(context: OpenContext<SnapshotParameters>): Promise<Disk> {
  const { parameters, options, openBelow } = context;
  const { file: path, block, max, at } = parameters;
  const asksReadOnly = (options.readOnly ?? false) || at !== undefined;
  const below = await openBelow(0, { readOnly: asksReadOnly });
  const readOnly = asksReadOnly || below.info.readOnly;
  const bytes = snapshotFileBytes(newLayout(below, { block, max }));
  // What is only read needs no file that has nothing.
  const side =
    readOnly && at === undefined && !existsSync(path)
      ? openScratchDisk(bytes)
      : openSideDisk(path, bytes, { ...options, readOnly });
  return openOverSide(
    below,
    side,
    async (base, access) => {
      const file = await SnapshotFile.open(access, base, { block, max }, path);
      return openSnapshotObject(new SnapshotObject(base, file), at);
    },
    { kind: SNAPSHOT_KIND, readOnly },
  );
}

/** The disk, after what an earlier end has left was looked at; or an old state of it. */
export async function openSnapshotObject(
  disk: SnapshotObject,
  at?: string,
): Promise<SnapshotObject | SnapshotView> {
  await checkSnapshots(disk);
  if (!disk.file.side.info.readOnly) await finishDrops(disk);
  return at === undefined ? disk : new SnapshotView(disk, snapshotNamed(disk, at));
}
