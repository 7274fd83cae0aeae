/** Finds the LUKS header of a disk: which version, and of two copies the one that counts. */
import type { DiskAccess } from '../access/disk-access.ts';
import { StorageError } from '../errors.ts';
import { readRange } from './header-bytes.ts';
import type { LuksVolume } from './luks-volume.ts';
import { LUKS1_HEADER_BYTES, MAGIC, parseLuks1 } from './luks1-header.ts';
import {
  BINARY_HEADER_BYTES,
  HEADER_SIZES,
  headerBytes,
  type Luks2Header,
  readHeader,
} from './luks2-header.ts';
import { parseMetadata } from './luks2-metadata.ts';

/** Rejects with a `StorageError` DISK_FORMAT if there is none, or none that is supported. */
export async function readVolume(access: DiskAccess): Promise<LuksVolume> {
  const sizeBytes = access.currentSizeBytes();
  if (sizeBytes < BINARY_HEADER_BYTES) failWithoutHeader();
  const start = await readRange(access, 0, BINARY_HEADER_BYTES);
  const hasMagic = start.subarray(0, MAGIC.length).equals(MAGIC);
  const version = start.readUInt16BE(MAGIC.length);
  if (hasMagic && version === 1) {
    return parseLuks1(start.subarray(0, LUKS1_HEADER_BYTES), sizeBytes);
  }
  if (hasMagic && version !== 2) {
    throw new StorageError('DISK_FORMAT', `LUKS version ${version}: known are 1 and 2`);
  }
  return readLuks2(access, hasMagic);
}

async function readLuks2(access: DiskAccess, hasMagic: boolean): Promise<LuksVolume> {
  const sizeBytes = access.currentSizeBytes();
  const first = await readHeaderAt(access, 0);
  const second = await findCopy(access, first);
  const header = newer(first, second);
  if (header === undefined) {
    if (!hasMagic) failWithoutHeader();
    throw new StorageError('DISK_FORMAT', 'LUKS2: both copies of the header are damaged');
  }
  const volume = parseMetadata(header.json, 2 * header.sizeBytes, sizeBytes);
  const isWhole = first !== undefined && second !== undefined && first.sequence === second.sequence;
  if (isWhole) return volume;
  const which = header === first ? 'second' : 'first';
  return {
    ...volume,
    warning: `LUKS2: the ${which} copy of the header is damaged or old: cryptsetup repairs it`,
  };
}

/** The second copy follows the first one, whose size is not known if it is damaged. */
async function findCopy(
  access: DiskAccess,
  first: Luks2Header | undefined,
): Promise<Luks2Header | undefined> {
  for (const offset of first === undefined ? HEADER_SIZES : [first.sizeBytes]) {
    const found = await readHeaderAt(access, offset);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function readHeaderAt(access: DiskAccess, offset: number): Promise<Luks2Header | undefined> {
  const sizeBytes = access.currentSizeBytes();
  if (offset + BINARY_HEADER_BYTES > sizeBytes) return undefined;
  const size = headerBytes(await readRange(access, offset, BINARY_HEADER_BYTES), offset);
  if (size === undefined || offset + size > sizeBytes) return undefined;
  return readHeader(await readRange(access, offset, size));
}

function newer(
  first: Luks2Header | undefined,
  second: Luks2Header | undefined,
): Luks2Header | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return second.sequence > first.sequence ? second : first;
}

function failWithoutHeader(): never {
  throw new StorageError('DISK_FORMAT', 'LUKS: the disk below has no LUKS header');
}
