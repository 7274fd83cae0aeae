/** A disk as it was when a snapshot of it was taken, to read only. */
import type { DiskObject, ObjectRequest, Settled } from '../../object/disk-object.ts';
import { sampleDisk } from '../side-file/disk-samples.ts';
import { formatError } from '../side-file/side-header.ts';
import { SnapshotState } from './snapshot-entry.ts';
import type { Snapshot } from './snapshot-file.ts';
import type { SnapshotObject } from './snapshot-object.ts';

/** See the module's comment. */
export class SnapshotView implements DiskObject {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly description: string;
  readonly #disk: SnapshotObject;
  readonly #snapshot: Snapshot;
  readonly #onClose: () => void;

  constructor(disk: SnapshotObject, snapshot: Snapshot, onClose: () => void = () => {}) {
    const { info } = disk.file.side;
    this.sizeBytes = disk.sizeBytes;
    this.logicalBlockBytes = Math.max(disk.logicalBlockBytes, info.logicalBlockBytes);
    const when = new Date(snapshot.takenAt).toISOString();
    this.description = `the snapshot ${snapshot.name}, taken ${when}`;
    this.#disk = disk;
    this.#snapshot = snapshot;
    this.#onClose = onClose;
  }

  read(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled {
    return this.#disk.readSnapshot(this.#snapshot, buffer, offset, request);
  }

  close(): void {
    this.#onClose();
  }
}

/**
 * Rejects with a `StorageError` DISK_FORMAT if snapshots are not what they were: then the disk below
 * is another one, or was written by others. Looks at samples, and is no proof.
 */
export async function checkSnapshots(disk: SnapshotObject): Promise<void> {
  const { info } = disk.base;
  for (const snapshot of disk.file.snapshots) {
    if (snapshot.state !== SnapshotState.KEPT) continue;
    const samples = await sampleDisk({
      info,
      read: (buffer, offset) => disk.readSnapshot(snapshot, buffer, offset),
    });
    if (samples.every((sample, index) => sample === snapshot.samples[index])) continue;
    const problem = 'the disk below is another one, or was written without this filter';
    const which = `the snapshot ${snapshot.name} makes no sense on it`;
    throw formatError(disk.file.identity, `${problem}: ${which}`);
  }
}
