/** The backing file that an image names: found, and opened to read only. */
import { realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { abandonAll } from '../../sys/index.ts';
import type { Disk } from '../disk.ts';
import { file } from '../disks/file.ts';
import { StorageError } from '../errors.ts';
import type { OpenOptions } from '../plan/disk-kind.ts';
import { openDisk } from '../plan/open-disk.ts';
import type { NamedBacking } from './header-extensions.ts';
import { refuse } from './refusal.ts';

/** Formats that backing files may have. */
export const BACKING_FORMATS = ['raw', 'qcow2'] as const;
export type BackingFormat = (typeof BACKING_FORMATS)[number];

/** More images, each with the next as its backing file, are refused. */
const MAX_CHAIN = 128;

/** How a backing file is opened. */
export interface BackingOptions {
  readonly open: OpenOptions;
  /** The format of a file of which the image does not say it. */
  readonly format: BackingFormat | undefined;
  /** The images above, by the real paths of their files. */
  readonly chain: readonly string[];
  /** Opens a qcow2 image in a disk; the disk is the image's from then on. */
  openImage(lower: Disk, chain: readonly string[]): Promise<Disk>;
}

/** Rejects with a `StorageError` that says what is wrong with it. @param image - which names it. */
export async function openBackingFile(
  named: NamedBacking,
  image: Disk,
  options: BackingOptions,
): Promise<Disk> {
  const path = pathOf(named.name, image);
  const format = formatOf(named, image, options.format);
  const chain = [...options.chain, realPath(image.imagePath ?? '')];
  if (chain.includes(realPath(path)) || chain.length > MAX_CHAIN) {
    refuse(nameOf(image), `its backing file ${path} is, in the end, the image itself`);
  }
  const lower = await openDisk(file(path), { ...options.open, readOnly: true });
  if (format === 'raw') return lower;
  try {
    return await options.openImage(lower, chain);
  } catch (error) {
    await abandonAll([lower]);
    throw error;
  }
}

/** What an image is called in messages. */
export function nameOf(lower: Disk): string {
  return lower.imagePath ?? lower.description;
}

function pathOf(name: string, image: Disk): string {
  const hint = 'give it as a second disk, or say backing=off';
  if (image.imagePath === undefined) {
    const problem = `its backing file is "${name}", which only an image in a file may name`;
    throw new StorageError('DISK_OPTION', `${nameOf(image)}: ${problem}: ${hint}`);
  }
  const path = name.replace(/^file:/, '');
  if (/^[a-z][a-z0-9+.-]*:/i.test(path)) {
    refuse(image.imagePath, `its backing file "${name}" is no path: ${hint}`);
  }
  return resolve(dirname(image.imagePath), path);
}

function formatOf(
  named: NamedBacking,
  image: Disk,
  assumed: BackingFormat | undefined,
): BackingFormat {
  const { format, name } = named;
  const known = BACKING_FORMATS.find((each) => each === (format ?? assumed));
  if (known !== undefined) return known;
  if (format === undefined) {
    // Guessing is not safe: who can write to a raw disk could make it look like an image.
    refuse(
      nameOf(image),
      `it does not say the format of its backing file ${name}: say backing-format`,
    );
  }
  refuse(nameOf(image), `its backing file ${name} is ${format}: raw and qcow2 are supported`);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}
