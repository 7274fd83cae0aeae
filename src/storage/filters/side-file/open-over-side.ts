/** Opens the disk of a filter that keeps a file next to the disk below. */
import { abandonAll } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import type { Disk } from '../../disk.ts';
import type { DiskObject } from '../../object/disk-object.ts';
import type { ObjectDiskOptions } from '../../object/object-disk.ts';
import { openObjectOver } from '../../object/object-over.ts';

/**
 * A disk of what `make` makes of both. They are the new disk's from then on. If there is to be none,
 * the side file is closed, and the disk below stays the caller's.
 */
export async function openOverSide(
  below: Disk,
  side: Disk,
  make: (below: DiskAccess, side: DiskAccess) => Promise<DiskObject>,
  options: ObjectDiskOptions,
): Promise<Disk> {
  try {
    return await openObjectOver([below, side], ([disk, file]) => make(disk, file), options);
  } catch (error) {
    await abandonAll([side]);
    throw error;
  }
}
