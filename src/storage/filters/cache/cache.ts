/** The filter `cache`: blocks of the disk below in memory. */
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import { bytes, decimal, oneOf, powerOfTwo } from '../../plan/parameter-types.ts';
import type { CacheWriteMode } from './cache-object.ts';

const MODES: readonly CacheWriteMode[] = ['write-through', 'write-back'];

/** See the kind's parameters. */
export interface CacheParameters {
  readonly size?: number;
  readonly block?: number;
  readonly mode?: CacheWriteMode;
  readonly readAhead?: number;
  readonly interval?: number;
}

/** See the module's comment. */
export const cacheKind: DiskKind<CacheParameters> = {
  name: 'cache',
  summary: 'keeps blocks of the disk below in memory',
  below: 'one',
  parameters: {
    size: { type: bytes(65536, 2 ** 40), summary: 'memory for blocks' },
    block: { type: powerOfTwo(4096, 2 ** 20), summary: 'bytes of a block' },
    mode: { type: oneOf(MODES), summary: 'when writes reach the disk below' },
    readAhead: { type: bytes(0, 2 ** 26), summary: 'bytes ahead of sequential readers' },
    interval: { type: decimal(0, 3600, 'seconds'), summary: 'how long writes are kept back' },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('./open-cache.ts')).openCache(context),
};

/** A disk with blocks of `disk` in memory. */
export function cache(disk: DiskLike, parameters: CacheParameters = {}): DiskPlan {
  return new DiskPlan(cacheKind, parameters, [disk]);
}
