/**
 * The header of a side file: the file that a filter keeps next to the disk below it. One sector,
 * which disks do not tear, in a page of its own.
 *
 * Offset, size, meaning; numbers are little-endian:
 *
 *     0  8  "vhostkit"             56  16  boot identity, of the last opening to write
 *     8 24  kind, padded with 0    72  32  samples of the disk, 8 of 4 bytes
 *    32  4  version                104  8  a number of the kind's own
 *    36  4  CRC-32 of the sector, with this field as 0
 *    40  4  bytes of a block
 *    44  4  state, the kind's own
 *    48  8  bytes of the disk
 */
import { crc32 } from 'node:zlib';
import type { DiskAccess } from '../../access/disk-access.ts';
import { StorageError } from '../../errors.ts';
import { BOOT_IDENTITY_BYTES } from './boot-identity.ts';
import { SAMPLES } from './disk-samples.ts';

/** What the header has to itself. */
export const HEADER_PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
const MAGIC = 'vhostkit';
const VERSION = 1;
const KIND_OFFSET = 8;
const KIND_BYTES = 24;
const CRC_OFFSET = 36;
const BOOT_OFFSET = 56;
const SAMPLES_OFFSET = 72;
const NUMBER_OFFSET = 104;

/** See the module's comment. */
export interface SideHeader {
  readonly blockBytes: number;
  readonly diskBytes: number;
  readonly state: number;
  readonly boot: Uint8Array;
  readonly samples: readonly number[];
  readonly number: number;
}

/** Where a side file is, and what it is to be: for messages. */
export interface SideIdentity {
  readonly path: string;
  /** The filter's kind. */
  readonly kind: string;
}

/** What is wrong with a side file. */
export function formatError({ path, kind }: SideIdentity, problem: string): StorageError {
  return new StorageError('DISK_FORMAT', `${kind}: ${path}: ${problem}`);
}

/** Write the header. It is safe after the next flush. */
export async function writeHeader(
  side: DiskAccess,
  kind: string,
  header: SideHeader,
): Promise<void> {
  const page = Buffer.alloc(HEADER_PAGE_BYTES);
  page.write(MAGIC, 0, 'latin1');
  page.write(kind, KIND_OFFSET, 'latin1');
  page.writeUInt32LE(VERSION, 32);
  page.writeUInt32LE(header.blockBytes, 40);
  page.writeUInt32LE(header.state, 44);
  page.writeBigUInt64LE(BigInt(header.diskBytes), 48);
  page.set(header.boot, BOOT_OFFSET);
  header.samples.forEach((sample, index) => {
    page.writeUInt32LE(sample, SAMPLES_OFFSET + 4 * index);
  });
  page.writeBigUInt64LE(BigInt(header.number), NUMBER_OFFSET);
  page.writeUInt32LE(crc32(page.subarray(0, SECTOR_BYTES)), CRC_OFFSET);
  await side.write(page, 0);
}

/**
 * Read the header. `undefined`: it was never written. Throws a `StorageError` DISK_FORMAT if it is
 * damaged or another kind's.
 */
export async function readHeader(
  side: DiskAccess,
  identity: SideIdentity,
): Promise<SideHeader | undefined> {
  if (side.info.sizeBytes < HEADER_PAGE_BYTES) throw formatError(identity, notOne(identity));
  const page = Buffer.alloc(HEADER_PAGE_BYTES);
  await side.read(page, 0);
  if (page.every((byte) => byte === 0)) return undefined;
  if (page.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    throw formatError(identity, notOne(identity));
  }
  const sector = page.subarray(0, SECTOR_BYTES);
  const crc = sector.readUInt32LE(CRC_OFFSET);
  sector.writeUInt32LE(0, CRC_OFFSET);
  if (crc !== crc32(sector)) {
    throw formatError(identity, 'its header is damaged: restore the file from a backup');
  }
  const kind = sector.toString('latin1', KIND_OFFSET, KIND_OFFSET + KIND_BYTES).replace(/\0+$/, '');
  if (kind !== identity.kind) {
    throw formatError(identity, `it is a file of the filter ${kind}: give another file`);
  }
  const version = sector.readUInt32LE(32);
  if (version !== VERSION) {
    throw formatError(
      identity,
      `it has version ${version}, known is ${VERSION}: use a newer vhostkit`,
    );
  }
  return {
    blockBytes: sector.readUInt32LE(40),
    state: sector.readUInt32LE(44),
    diskBytes: Number(sector.readBigUInt64LE(48)),
    boot: new Uint8Array(sector.subarray(BOOT_OFFSET, BOOT_OFFSET + BOOT_IDENTITY_BYTES)),
    samples: Array.from({ length: SAMPLES }, (_, index) =>
      sector.readUInt32LE(SAMPLES_OFFSET + 4 * index),
    ),
    number: Number(sector.readBigUInt64LE(NUMBER_OFFSET)),
  };
}

function notOne({ kind }: SideIdentity): string {
  return `it is no file of the filter ${kind}: give another file, or one that does not exist yet`;
}

/** Throws a `StorageError` unless the header is of a disk of this size, with possible blocks. */
export function checkHeader(
  header: SideHeader,
  diskBytes: number,
  limits: BlockLimits,
  identity: SideIdentity,
): void {
  if (!isBlockSize(header.blockBytes, limits)) {
    throw formatError(identity, `its header is damaged: blocks of ${header.blockBytes} bytes`);
  }
  if (header.diskBytes !== diskBytes) {
    const sizes = `its disk has ${header.diskBytes} bytes, the one below ${diskBytes}`;
    throw formatError(identity, `${sizes}: it belongs to another disk, or that was resized`);
  }
}

/** Sizes that blocks can have. */
export interface BlockLimits {
  readonly minBytes: number;
  readonly maxBytes: number;
}

/** Whether it is a power of two within limits. */
export function isBlockSize(bytes: number, { minBytes, maxBytes }: BlockLimits): boolean {
  return bytes >= minBytes && bytes <= maxBytes && Number.isInteger(Math.log2(bytes));
}
