/** A disk that another thread has opened, for use by this one. */
import type { Disk, DiskHandle } from './disk.ts';
import { FileDisk } from './file/file-disk.ts';
import { NullDisk } from './null-disk.ts';

/** Make this thread's own `Disk` from what `share` gave. */
export function adoptDisk(handle: DiskHandle): Disk {
  switch (handle.kind) {
    case 'file':
      return new FileDisk(handle);
    case 'null':
      return new NullDisk(handle.info);
  }
}
