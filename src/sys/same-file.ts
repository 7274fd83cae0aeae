/** Whether two names or descriptors lead to one file. */
import type { Stats } from 'node:fs';

/** For block devices: to one device, of which there may be several files. */
export function isSameFile(one: Stats, other: Stats): boolean {
  if (one.isBlockDevice() && other.isBlockDevice()) return one.rdev === other.rdev;
  return one.dev === other.dev && one.ino === other.ino;
}
