/** Opens qcow2 images: the header and what it names are checked before there is a disk. */
import { abandonAll } from '../../sys/index.ts';
import type { DiskAccess } from '../access/disk-access.ts';
import { openAccess } from '../access/open-access.ts';
import type { Disk } from '../disk.ts';
import type { OpenOptions } from '../plan/disk-kind.ts';
import { type BackingFormat, nameOf, openBackingFile } from './backing-file.ts';
import { HEADER_START_BYTES, headerClusterBytes, parseHeader, type Qcow2Header } from './header.ts';
import { Qcow2Disk } from './qcow2-disk.ts';
import { type ImageOptions, Qcow2Image } from './qcow2-image.ts';
import { refuse } from './refusal.ts';

/** How an image is opened. */
export interface Qcow2Settings extends ImageOptions {
  /** For backing files. */
  readonly open: OpenOptions;
  /** Open the backing file that the image names. */
  readonly usesBacking: boolean;
  readonly backingFormat: BackingFormat | undefined;
  /** To use in place of the backing file that the image names; the image's from then on. */
  readonly backing: Disk | undefined;
}

/**
 * Open the image that is in a disk. Rejects with a `StorageError`; the disks that were given stay the
 * caller's then, else they are closed with the image.
 *
 * @param chain - the images that have it as their backing file, by the paths of their files.
 */
export async function openQcow2(
  lower: Disk,
  settings: Qcow2Settings,
  chain: readonly string[] = [],
): Promise<Disk> {
  const access = openAccess(lower);
  const accesses = [access];
  let opened: Disk | undefined;
  try {
    const header = await readHeader(lower, access);
    checkUsable(lower, header);
    if (settings.backing === undefined) opened = await backingOf(lower, header, settings, chain);
    const backing = settings.backing ?? opened;
    checkBlocks(header, [lower, ...(backing === undefined ? [] : [backing])], nameOf(lower));
    const backingAccess = backing === undefined ? undefined : openAccess(backing);
    if (backingAccess !== undefined) accesses.push(backingAccess);
    const disks = { lower, access, backing: backingAccess };
    const image = await Qcow2Image.open(disks, header, settings);
    return new Qcow2Disk(image, header, { lower, backing });
  } catch (error) {
    for (const each of accesses) each.close();
    if (opened !== undefined) await abandonAll([opened]);
    throw error;
  }
}

/** Its first cluster is read, and checked. */
async function readHeader(lower: Disk, access: DiskAccess): Promise<Qcow2Header> {
  const name = nameOf(lower);
  const fileBytes = lower.currentSizeBytes();
  const blockBytes = Math.max(HEADER_START_BYTES, lower.info.logicalBlockBytes);
  if (fileBytes < blockBytes) refuse(name, 'not a qcow2 image: it is too small');
  const start = Buffer.alloc(blockBytes);
  await access.read(start, 0);
  const clusterBytes = headerClusterBytes(start, name);
  if (clusterBytes < lower.info.logicalBlockBytes) {
    const hint = `clusters of ${clusterBytes} bytes, but the disk it is in has blocks of`;
    refuse(name, `${hint} ${lower.info.logicalBlockBytes}`);
  }
  const bytes = Buffer.alloc(Math.min(clusterBytes, fileBytes - (fileBytes % blockBytes)));
  await access.read(bytes, 0);
  return parseHeader(bytes, fileBytes, name);
}

/** Read-only is always possible: refcounts do not matter then. */
function checkUsable(lower: Disk, { isCorrupt, isDirty }: Qcow2Header): void {
  if (lower.info.readOnly || !(isCorrupt || isDirty)) return;
  const what = isCorrupt
    ? 'it is marked as corrupt'
    : 'it was not closed as it should be, so its refcounts may be wrong';
  refuse(nameOf(lower), `${what}: repair it by qemu-img check -r all, or use it read-only`);
}

/** The end of the disk could not be reached: requests are of whole blocks. */
function checkBlocks({ sizeBytes }: Qcow2Header, disks: readonly Disk[], name: string): void {
  const blockBytes = Math.max(...disks.map(({ info }) => info.logicalBlockBytes));
  if (sizeBytes % blockBytes === 0) return;
  const kilobytes = Math.ceil(sizeBytes / blockBytes) * (blockBytes / 1024);
  const hint = `enlarge it by qemu-img resize to ${kilobytes}K, or open what is below with smaller blocks`;
  refuse(name, `its size of ${sizeBytes} bytes is no multiple of blocks of ${blockBytes}: ${hint}`);
}

async function backingOf(
  lower: Disk,
  header: Qcow2Header,
  settings: Qcow2Settings,
  chain: readonly string[],
): Promise<Disk | undefined> {
  if (header.backing === undefined || !settings.usesBacking) return undefined;
  return openBackingFile(header.backing, lower, {
    open: settings.open,
    format: settings.backingFormat,
    chain,
    openImage: (disk, next) => openQcow2(disk, settings, next),
  });
}
