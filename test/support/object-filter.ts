/** A filter made of an object whose methods use the disk below. */
import {
  type DiskAccess,
  type DiskLike,
  type DiskObject,
  DiskPlan,
} from '../../src/storage/index.ts';
import { openObjectOver } from '../../src/storage/object/object-over.ts';
import type { DiskKind } from '../../src/storage/plan/disk-kind.ts';

/** See the module's comment. */
export function objectFilter(lower: DiskLike, make: (below: DiskAccess) => DiskObject): DiskPlan {
  const kind: DiskKind = {
    name: 'object-filter',
    summary: 'an object over a disk',
    below: 'one',
    parameters: {},
    open: async ({ openBelow, options }) =>
      openObjectOver([await openBelow(0)], ([below]) => make(below), {
        kind: 'object-filter',
        readOnly: options.readOnly ?? false,
      }),
  };
  return new DiskPlan(kind, {}, [lower]);
}
