/**
 * An image that is served as it is, though it has a disk inside: the guest sees the image's bytes, and
 * what it writes damages it. A guest may have written such bytes itself, so nothing is refused, and a
 * format is never guessed.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Disk } from '../disk.ts';
import { FORMAT_BYTES, IMAGE_FORMATS } from './image-formats.ts';

/** Filters whose disk begins with what the disk below begins with. */
const SHOWING: ReadonlySet<string> = new Set([
  ...['readonly', 'throttle', 'delay', 'error', 'stats', 'log', 'cache'],
  ...['copy-on-write', 'snapshot', 'checksum'],
]);

/**
 * One line for the log if what a guest would see begins like an image of another format than raw;
 * `undefined` if not, or if it is in no file. Reads, and changes nothing.
 */
export function rawImageWarning(disk: Disk): string | undefined {
  const lowest = lowestShown(disk);
  const { descriptor, imagePath } = lowest;
  if (lowest.kind !== 'file' || descriptor === undefined || imagePath === undefined) {
    return undefined;
  }
  const start = startOf(descriptor);
  const format = IMAGE_FORMATS.find(({ isAt }) => isAt(start));
  if (format === undefined) return undefined;
  const found = `${imagePath} begins like ${format.name}, and is served as it is, raw`;
  return `${found}: ${format.hint(written(imagePath))}`;
}

/** Where the first bytes come from. */
function lowestShown(disk: Disk): Disk {
  const [below] = disk.below;
  return below !== undefined && SHOWING.has(disk.kind) ? lowestShown(below) : disk;
}

/** Of an open file; zeros behind its end, and if it cannot be read. */
function startOf(descriptor: number): Buffer {
  const start = Buffer.alloc(FORMAT_BYTES);
  try {
    // An opening of its own: direct I/O would ask for aligned memory.
    const fd = openSync(`/proc/self/fd/${descriptor}`, 'r');
    try {
      readSync(fd, start, 0, FORMAT_BYTES, 0);
    } finally {
      closeSync(fd);
    }
  } catch {
    start.fill(0);
  }
  return start;
}

/** A file as people write it. */
function written(path: string): string {
  const isPlain = /^[\w./+@:-]+$/.test(path);
  return `file(${isPlain ? path : `"${path.replace(/["\\]/g, '\\$&')}"`})`;
}
