/** The kind `concat`: disks one after the other. */
import type { Disk } from '../disk.ts';
import { type DiskKind, type DiskLike, DiskPlan } from '../plan/disk-kind.ts';
import { JoinedDisk } from './joined-disk.ts';

/** See the module's comment. */
export const concatKind: DiskKind<Record<never, never>> = {
  name: 'concat',
  summary: 'disks one after the other, as one',
  below: 'some',
  parameters: {},
  async open({ belowCount, openBelow }) {
    const parts: Disk[] = [];
    for (let index = 0; index < belowCount; index++) parts.push(await openBelow(index));
    return new JoinedDisk('concat', parts, `${parts.length} disks, one after the other`);
  },
};

/** Disks one after the other, as one. */
export function concat(...disks: readonly DiskLike[]): DiskPlan {
  return new DiskPlan(concatKind, {}, disks);
}
