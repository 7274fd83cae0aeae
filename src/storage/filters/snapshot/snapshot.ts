/** The filter `snapshot`: a disk, and how it was at some moments. */
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import { count, powerOfTwo, text } from '../../plan/parameter-types.ts';
import type { BlockLimits } from '../side-file/side-header.ts';

export const SNAPSHOT_KIND = 'snapshot';
/** Sizes that its blocks can have. */
export const SNAPSHOT_BLOCKS: BlockLimits = { minBytes: 4096, maxBytes: 2 ** 21 };
/** Snapshots that a file can have room for. */
export const MAX_SNAPSHOTS = 64;

/** See the kind's parameters. */
export interface SnapshotParameters {
  readonly file: string;
  readonly block?: number;
  readonly max?: number;
  readonly at?: string;
}

/** See the module's comment. */
export const snapshotKind: DiskKind<SnapshotParameters> = {
  name: SNAPSHOT_KIND,
  summary: 'keeps how the disk below was when snapshots of it were taken',
  below: 'one',
  parameters: {
    file: { type: text('path'), summary: 'the file that has the snapshots', isRequired: true },
    block: {
      type: powerOfTwo(SNAPSHOT_BLOCKS.minBytes, SNAPSHOT_BLOCKS.maxBytes),
      summary: 'bytes that are kept at a time',
    },
    max: { type: count(1, MAX_SNAPSHOTS), summary: 'how many snapshots there can be' },
    at: { type: text('name'), summary: 'the disk as it was at this snapshot, to read only' },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('./open-snapshot.ts')).openSnapshots(context),
};

/** A disk that snapshots can be taken of, which are in `parameters.file`. See `takeSnapshot`. */
export function snapshot(disk: DiskLike, parameters: SnapshotParameters): DiskPlan {
  return new DiskPlan(snapshotKind, parameters, [disk]);
}
