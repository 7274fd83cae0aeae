/** The way into any disk for code of this thread. */
import type { Disk } from '../disk.ts';
import { ChannelAccess } from './channel-access.ts';
import type { DiskAccess } from './disk-access.ts';

/** Use a disk from this thread, the one that it was opened in. Close the access before the disk. */
export function openAccess(disk: Disk): DiskAccess {
  return disk.openAccess?.() ?? new ChannelAccess(disk);
}
