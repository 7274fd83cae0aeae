/** The side file of checksums: a header, the marks of where the disk is being written, the table. */
import type { DiskAccess } from '../../access/disk-access.ts';
import { StorageError } from '../../errors.ts';
import { bootIdentity } from '../side-file/boot-identity.ts';
import { SAMPLES } from '../side-file/disk-samples.ts';
import {
  checkHeader,
  formatError,
  HEADER_PAGE_BYTES,
  readHeader,
  type SideHeader,
  writeHeader,
} from '../side-file/side-header.ts';
import { CHECKSUM_BLOCKS, CHECKSUM_KIND } from './checksum.ts';
import type { ChecksumParts } from './checksum-object.ts';
import { ChecksumTable, tableBytes } from './checksum-table.ts';
import { INTENT_BYTES, WriteIntents } from './write-intents.ts';

/** Of a new file, unless somebody says otherwise. */
export const CHECKSUM_BLOCK_BYTES = 4096;

const TABLE_OFFSET = HEADER_PAGE_BYTES + INTENT_BYTES;
/** 16 MiB of checksums. */
const MAX_PAGES = 4096;
const QUIET_MS = 2000;

/** How large the side file of a disk is. */
export function checksumFileBytes(diskBytes: number, blockBytes: number): number {
  return TABLE_OFFSET + tableBytes(Math.ceil(diskBytes / blockBytes));
}

export interface ChecksumFileOptions {
  /** What its blocks have to be; absent: what they are. */
  readonly blockBytes?: number | undefined;
  readonly path: string;
  /** See `WriteIntents`. */
  readonly quietMs?: number;
  /** Pages of the table that are kept in memory. */
  readonly maxPages?: number;
}

/**
 * Open the checksums that are in a side file, or begin them if the file is full of zeros. Rejects with
 * a `StorageError` if it is damaged, or not one of a disk of this size.
 */
export async function openChecksums(
  side: DiskAccess,
  below: DiskAccess,
  { blockBytes: wanted, path, quietMs = QUIET_MS, maxPages = MAX_PAGES }: ChecksumFileOptions,
): Promise<ChecksumParts> {
  const identity = { path, kind: CHECKSUM_KIND };
  const diskBytes = below.info.sizeBytes;
  const found = await readHeader(side, identity);
  const header: SideHeader = found ?? {
    blockBytes: wanted ?? Math.max(CHECKSUM_BLOCK_BYTES, below.info.logicalBlockBytes),
    diskBytes,
    ...{ state: 0, boot: bootIdentity(), number: 0 },
    samples: new Array<number>(SAMPLES).fill(0),
  };
  checkHeader(header, diskBytes, CHECKSUM_BLOCKS, identity);
  const { blockBytes } = header;
  if (wanted !== undefined && wanted !== blockBytes) {
    const blocks = `block is ${wanted}, but ${path} has blocks of ${blockBytes}`;
    throw new StorageError('DISK_OPTION', `${CHECKSUM_KIND}: ${blocks}: leave it out`);
  }
  const expected = checksumFileBytes(diskBytes, blockBytes);
  if (side.info.sizeBytes < expected) {
    const sizes = `it has ${side.info.sizeBytes} bytes in place of ${expected}`;
    throw formatError(identity, `${sizes}: restore it from a backup`);
  }
  if (found === undefined) {
    await writeHeader(side, CHECKSUM_KIND, header);
    await side.flush();
  }
  const intents = await WriteIntents.load(side, HEADER_PAGE_BYTES, diskBytes, quietMs);
  const table = new ChecksumTable(side, TABLE_OFFSET, maxPages);
  return { below, side, table, intents, blockBytes };
}
