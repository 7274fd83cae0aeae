/** What the filter `checksum` has found, and finds in a disk that is read for that alone. */
import { openAccess } from '../../access/open-access.ts';
import type { Disk } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import { findObject, findObjectDisk } from '../../object/find-object.ts';
import { ChecksumObject, type ChecksumStatistics } from './checksum-object.ts';

/** Read at a time. */
const SCAN_BYTES = 2 ** 18;

/** What the first such filter of an open disk has found; `undefined`: there is none in it. */
export function checksumStatistics(disk: Disk): ChecksumStatistics | undefined {
  return findObject(disk, ChecksumObject)?.statistics;
}

/** A block that a scan could not read, or that is corrupt. */
export interface ScanFinding {
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  readonly error: Error;
}

/**
 * Read all of an open disk that has the filter, while it may be in use: blocks that were never written
 * get their checksum, and regions in doubt are settled. Corrupt blocks are found, and do not end it.
 */
export async function scanChecksums(
  disk: Disk,
  onProgress: (doneBytes: number, totalBytes: number) => void = () => {},
): Promise<ScanFinding[]> {
  const found = findObjectDisk(disk, ChecksumObject);
  if (found === undefined) throw new StorageError('DISK_OPTION', 'the disk has no checksums');
  const { object } = found;
  const access = openAccess(found.disk);
  const findings: ScanFinding[] = [];
  const { sizeBytes } = object;
  const buffer = new Uint8Array(SCAN_BYTES);
  object.learns = !disk.info.readOnly;
  try {
    for (let offset = 0; offset < sizeBytes; offset += SCAN_BYTES) {
      const length = Math.min(SCAN_BYTES, sizeBytes - offset);
      try {
        await access.read(buffer.subarray(0, length), offset);
      } catch {
        await scanBlocks(access, { offset, length, blockBytes: object.blockBytes }, findings);
      }
      const end = offset + length;
      const isRegionEnd = end % object.regionBytes === 0 || end === sizeBytes;
      if (isRegionEnd) object.settleDoubt(Math.ceil(end / object.regionBytes) - 1);
      onProgress(end, sizeBytes);
    }
  } finally {
    object.learns = false;
    access.close();
  }
  return findings;
}

/** One block after the other: which of them it is. */
async function scanBlocks(
  access: ReturnType<typeof openAccess>,
  { offset, length, blockBytes }: { offset: number; length: number; blockBytes: number },
  findings: ScanFinding[],
): Promise<void> {
  for (let at = offset; at < offset + length; at += blockBytes) {
    const bytes = Math.min(blockBytes, offset + length - at);
    try {
      await access.read(new Uint8Array(bytes), at);
    } catch (error) {
      findings.push({ offset: at, length: bytes, error: error as Error });
    }
  }
}
