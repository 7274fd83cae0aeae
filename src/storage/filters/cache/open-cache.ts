/** Opens disks with blocks in memory, and tells what these are good for. */
import type { Disk } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import { findObject } from '../../object/find-object.ts';
import { openObjectOver } from '../../object/object-over.ts';
import type { OpenContext } from '../../plan/disk-kind.ts';
import type { CacheParameters } from './cache.ts';
import { CacheObject } from './cache-object.ts';
import type { CacheStatistics } from './cache-statistics.ts';

const KIND = 'cache';
const DEFAULT_SIZE_BYTES = 64 * 2 ** 20;
const DEFAULT_BLOCK_BYTES = 65536;
const DEFAULT_INTERVAL_SECONDS = 5;
/** Fewer, and requests would wait for each other. */
const MIN_BLOCKS = 16;

/** See the kind. */
export async function openCache(context: OpenContext<CacheParameters>): Promise<Disk> {
  const { parameters, options, openBelow } = context;
  const below = await openBelow(0);
  const { logicalBlockBytes } = below.info;
  const {
    size: sizeBytes = DEFAULT_SIZE_BYTES,
    block: blockBytes = DEFAULT_BLOCK_BYTES,
    mode = 'write-through',
    readAhead: readAheadBytes = 0,
    interval = DEFAULT_INTERVAL_SECONDS,
  } = parameters;
  if (blockBytes < logicalBlockBytes) {
    const problem = `block is ${blockBytes}: the disk below has blocks of ${logicalBlockBytes}`;
    throw new StorageError('DISK_OPTION', `${KIND}: ${problem}`);
  }
  if (below.claim !== undefined) {
    const problem = 'its blocks are in memory: nobody else may change the disk below in between';
    throw new StorageError('DISK_OPTION', `${KIND}: ${problem} (--locking=while-running)`);
  }
  if (sizeBytes < MIN_BLOCKS * blockBytes) {
    const problem = `size is ${sizeBytes}: expected at least ${MIN_BLOCKS} blocks of ${blockBytes}`;
    throw new StorageError('DISK_OPTION', `${KIND}: ${problem}`);
  }
  const settings = { sizeBytes, blockBytes, mode, readAheadBytes, intervalMs: interval * 1000 };
  const description = `${sizeBytes} bytes of memory in blocks of ${blockBytes}, ${mode}`;
  return openObjectOver([below], ([access]) => new CacheObject(access, settings, description), {
    kind: KIND,
    readOnly: (options.readOnly ?? false) || below.info.readOnly,
  });
}

/** What the first cache of an open disk has been good for; `undefined`: there is none in it. */
export function cacheStatistics(disk: Disk): CacheStatistics | undefined {
  return findObject(disk, CacheObject)?.statistics;
}
