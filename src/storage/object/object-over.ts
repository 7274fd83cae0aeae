/** A disk object whose methods use other disks: how it is opened, and closed with them. */
import type { DiskAccess } from '../access/disk-access.ts';
import { openAccess } from '../access/open-access.ts';
import type { Disk } from '../disk.ts';
import type { DiskObject } from './disk-object.ts';
import { ObjectDisk, type ObjectDiskOptions } from './object-disk.ts';

/** Makes an object that uses disks by these accesses. */
export type ObjectMaker = (accesses: readonly DiskAccess[]) => DiskObject | Promise<DiskObject>;

/**
 * Make a disk of an object over others. They are the new disk's from then on; if there is to be
 * none, because `make` fails, they stay the caller's.
 */
export async function openObjectOver(
  below: readonly Disk[],
  make: ObjectMaker,
  options: Omit<ObjectDiskOptions, 'below' | 'accesses'>,
): Promise<Disk> {
  const accesses = below.map(openAccess);
  try {
    const object = await make(accesses);
    const outside = below.find((disk) => disk.needsOutside !== undefined)?.needsOutside;
    const needsOutside = options.needsOutside ?? outside;
    return new ObjectDisk(object, { ...options, needsOutside, below, accesses });
  } catch (error) {
    // What has failed may have left requests under way.
    await Promise.all(accesses.map((access) => access.idle()));
    for (const access of accesses) access.close();
    throw error;
  }
}
