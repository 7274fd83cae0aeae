/** A disk that another thread has opened, for use by this one. */
import type { Disk, DiskHandle } from './disk.ts';
import { JoinedDisk } from './disks/joined-disk.ts';
import { NullDisk } from './disks/null-disk.ts';
import { PatternDisk } from './disks/pattern-disk.ts';
import { FileDisk } from './file/file-disk.ts';
import { DelayDisk } from './filters/delay.ts';
import { ErrorDisk } from './filters/error/error.ts';
import { ReadonlyDisk } from './filters/readonly.ts';
import { StatisticsRow } from './filters/stats/statistics-row.ts';
import { StatsDisk } from './filters/stats/stats.ts';
import { ThrottleDisk } from './filters/throttle/throttle.ts';
import { ThrottleGroup } from './filters/throttle/throttle-group.ts';
import { EncryptDisk } from './luks/encrypt-disk.ts';

/** Make this thread's own `Disk` from what `share` gave. */
export function adoptDisk(handle: DiskHandle): Disk {
  switch (handle.kind) {
    case 'file':
    case 'memory':
      return new FileDisk(handle);
    case 'null':
      return new NullDisk(handle.info);
    case 'pattern':
      return new PatternDisk(handle.info, handle.wrongWrites);
    case 'concat':
    case 'split':
      return new JoinedDisk(handle.kind, handle.parts.map(adoptDisk), handle.description);
    case 'encrypt':
      return new EncryptDisk(adoptDisk(handle.lower), handle.settings);
    case 'readonly':
      return new ReadonlyDisk(adoptDisk(handle.lower));
    case 'throttle':
      return new ThrottleDisk(adoptDisk(handle.lower), new ThrottleGroup(handle.settings));
    case 'delay':
      return new DelayDisk(adoptDisk(handle.lower), handle.settings);
    case 'stats': {
      const row = new StatisticsRow(handle.settings.row);
      return new StatsDisk(adoptDisk(handle.lower), { row });
    }
    case 'error':
      return new ErrorDisk(adoptDisk(handle.lower), handle.settings);
  }
}
