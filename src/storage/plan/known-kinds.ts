/** The kinds of disk that come with vhostkit. */
import { concatKind } from '../disks/concat.ts';
import { fileKind } from '../disks/file.ts';
import { httpKind } from '../disks/http.ts';
import { memoryKind } from '../disks/memory-disk.ts';
import { nbdKind } from '../disks/nbd.ts';
import { nullKind } from '../disks/null-disk.ts';
import { patternKind } from '../disks/pattern-disk.ts';
import { splitKind } from '../disks/split.ts';
import { cacheKind } from '../filters/cache/cache.ts';
import { checksumKind } from '../filters/checksum/checksum.ts';
import { copyOnWriteKind } from '../filters/copy-on-write/copy-on-write.ts';
import { delayKind } from '../filters/delay.ts';
import { errorKind } from '../filters/error/error.ts';
import { logKind } from '../filters/log/log.ts';
import { readonlyKind } from '../filters/readonly.ts';
import { snapshotKind } from '../filters/snapshot/snapshot.ts';
import { statsKind } from '../filters/stats/stats.ts';
import { throttleKind } from '../filters/throttle/throttle.ts';
import { encryptKind } from '../luks/encrypt.ts';
import { moduleDisk } from '../object/object-module.ts';
import { qcow2Kind } from '../qcow2/qcow2.ts';
import { parseDisk as parse } from './disk-expression.ts';
import type { DiskKind, DiskPlan } from './disk-kind.ts';

/** Disks first, then filters; each in the order of the reference. */
export const DISK_KINDS: readonly DiskKind[] = [
  // Disks.
  fileKind,
  memoryKind,
  nullKind,
  patternKind,
  qcow2Kind,
  concatKind,
  splitKind,
  httpKind,
  nbdKind,
  // Filters.
  readonlyKind,
  throttleKind,
  delayKind,
  errorKind,
  copyOnWriteKind,
  snapshotKind,
  encryptKind,
  statsKind,
  cacheKind,
  logKind,
  checksumKind,
];

/**
 * Read a disk as people write it: `null,size=1G`, `stats(file(disk.img))`, `./my-disk.ts,size=1G`.
 * Throws a `StorageError` DISK_OPTION that says what is wrong, and where.
 */
export function parseDisk(text: string): DiskPlan {
  return parse(text, { kinds: DISK_KINDS, planModule: moduleDisk });
}
