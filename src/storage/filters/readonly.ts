/** The filter `readonly`: a disk that may be written, as one that may not. */
import type { Reactor } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { type DiskKind, type DiskLike, DiskPlan } from '../plan/disk-kind.ts';
import { FilterDisk } from './filter-disk.ts';
import type { HandleOf } from './filter-handle.ts';

/** See the module's comment. Who serves a disk refuses what its `info` does not allow. */
export class ReadonlyDisk extends FilterDisk {
  readonly kind = 'readonly';
  readonly description = 'refuses writes';

  constructor(lower: Disk) {
    super(lower, { readOnly: true, canDiscard: false, canWriteZeroes: false });
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    return this.lower.openChannel(reactor, requests, handler);
  }

  share(): HandleOf<'readonly'> {
    return { kind: 'readonly', lower: this.lower.share(), settings: undefined };
  }
}

/** See the module's comment. What is below is opened to read only where it can be. */
export const readonlyKind: DiskKind<Record<never, never>> = {
  name: 'readonly',
  summary: 'lets the guest read only',
  below: 'one',
  parameters: {},
  open: async ({ openBelow }) => new ReadonlyDisk(await openBelow(0, { readOnly: true })),
};

/** A disk that the guest may only read. */
export function readonly(disk: DiskLike): DiskPlan {
  return new DiskPlan(readonlyKind, {}, [disk]);
}
