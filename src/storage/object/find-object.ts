/** Objects of a class in a chain of disks: what their authors offer beyond being a disk. */
import type { Disk } from '../disk.ts';
import { ObjectDisk } from './object-disk.ts';

type Class<Wanted> = new (...parameters: never[]) => Wanted;

/** The disk, or the first one below it, that was made of such an object; and the object. */
export function findObjectDisk<Wanted>(
  disk: Disk,
  wanted: Class<Wanted>,
): { readonly disk: Disk; readonly object: Wanted } | undefined {
  if (disk instanceof ObjectDisk && disk.object instanceof wanted) {
    return { disk, object: disk.object };
  }
  for (const below of disk.below) {
    const found = findObjectDisk(below, wanted);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** As `findObjectDisk`, the object. */
export function findObject<Wanted>(disk: Disk, wanted: Class<Wanted>): Wanted | undefined {
  return findObjectDisk(disk, wanted)?.object;
}
