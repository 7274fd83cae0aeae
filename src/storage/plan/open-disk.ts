/** Opens whatever stands for a disk. */
import { abandonAll } from '../../sys/index.ts';
import type { Disk } from '../disk.ts';
import type { DiskObject } from '../object/disk-object.ts';
import { ObjectDisk } from '../object/object-disk.ts';
import { checkPlan } from './check-plan.ts';
import { type DiskLike, DiskPlan, type OpenContext, type OpenOptions } from './disk-kind.ts';
import { lentDisk } from './lent-disk.ts';

/**
 * Open a disk and all that are below it. An open `Disk` is taken as it is; below a plan's it stays
 * open when that is closed, and is to be closed after it by who has opened it. Rejects with a
 * `StorageError`; nothing is left open then, but for disks that were open before.
 */
export async function openDisk(disk: DiskLike, options: OpenOptions = {}): Promise<Disk> {
  if (disk instanceof DiskPlan) return openPlan(disk, options);
  if (isDisk(disk)) return disk;
  return openObject(disk, options);
}

function isDisk(disk: DiskObject | Disk): disk is Disk {
  return typeof (disk as Disk | undefined)?.openChannel === 'function';
}

function openObject(object: DiskObject, { readOnly, logger }: OpenOptions): Disk {
  const disk = new ObjectDisk(object, { readOnly: readOnly ?? false });
  if (logger !== undefined) disk.useLogger(logger);
  return disk;
}

async function openPlan(plan: DiskPlan, options: OpenOptions): Promise<Disk> {
  const { kind, parameters, below } = plan;
  checkPlan(plan);
  const opened: Disk[] = [];
  const context: OpenContext<unknown> = {
    parameters,
    options,
    belowCount: below.length,
    openBelow: async (index, overrides = {}) => {
      const like = below[index];
      if (!(like instanceof DiskPlan) && isDisk(like)) return lentDisk(like);
      const disk = await openDisk(like, { ...options, ...overrides });
      opened.push(disk);
      return disk;
    },
  };
  try {
    return await kind.open(context);
  } catch (error) {
    await abandonAll(opened);
    throw error;
  }
}
