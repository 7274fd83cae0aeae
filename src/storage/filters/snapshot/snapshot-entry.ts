/**
 * What a side file says of one snapshot: one sector, which disks do not tear, in a page of its own.
 *
 * Offset, size, meaning; numbers are little-endian. A page full of zeros is one that is free.
 *
 *     0  4  CRC-32 of the sector, with this field as 0
 *     4  4  state
 *     8  8  number: later snapshots have higher ones
 *    16  8  when it was taken, milliseconds since 1970
 *    24 32  samples of the disk as it was then, 8 of 4 bytes
 *    56  1  bytes of the name
 *    57 64  name
 */
import { crc32 } from 'node:zlib';
import { StorageError } from '../../errors.ts';
import { SAMPLES } from '../side-file/disk-samples.ts';
import { formatError, type SideIdentity } from '../side-file/side-header.ts';
import { SNAPSHOT_KIND } from './snapshot.ts';

export const ENTRY_PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
const SAMPLES_OFFSET = 24;
const NAME_OFFSET = 57;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** States of a snapshot, in the file. */
export const SnapshotState = {
  /** There is none. */
  FREE: 0,
  KEPT: 1,
  /** It is gone; blocks that older ones need are still to be moved to them. */
  DROPPING: 2,
} as const;

/** See the module's comment. */
export interface SnapshotEntry {
  /** `SnapshotState`, but not `FREE`. */
  readonly state: number;
  readonly number: number;
  readonly takenAt: number;
  readonly samples: readonly number[];
  readonly name: string;
}

/** Throws a `StorageError` DISK_OPTION unless a snapshot can have the name. */
export function checkSnapshotName(name: string): void {
  if (typeof name === 'string' && NAME.test(name)) return;
  const expected = 'expected 1 to 64 letters, digits, ".", "_" or "-"';
  throw new StorageError(
    'DISK_OPTION',
    `${SNAPSHOT_KIND}: the name is ${JSON.stringify(name)}: ${expected}`,
  );
}

/** The page of an entry; `undefined`: there is none. */
export function encodeEntry(entry: SnapshotEntry | undefined): Buffer {
  const page = Buffer.alloc(ENTRY_PAGE_BYTES);
  if (entry === undefined) return page;
  page.writeUInt32LE(entry.state, 4);
  page.writeBigUInt64LE(BigInt(entry.number), 8);
  page.writeBigUInt64LE(BigInt(entry.takenAt), 16);
  entry.samples.forEach((sample, index) => {
    page.writeUInt32LE(sample, SAMPLES_OFFSET + 4 * index);
  });
  page[NAME_OFFSET - 1] = entry.name.length;
  page.write(entry.name, NAME_OFFSET, 'latin1');
  page.writeUInt32LE(crc32(page.subarray(0, SECTOR_BYTES)), 0);
  return page;
}

/** The entry in a page; `undefined`: none. Throws a `StorageError` DISK_FORMAT if it makes no sense. */
export function decodeEntry(page: Buffer, identity: SideIdentity): SnapshotEntry | undefined {
  const sector = Buffer.from(page.subarray(0, SECTOR_BYTES));
  if (sector.every((byte) => byte === 0)) return undefined;
  const crc = sector.readUInt32LE(0);
  sector.writeUInt32LE(0, 0);
  const state = sector.readUInt32LE(4);
  const number = Number(sector.readBigUInt64LE(8));
  const takenAt = Number(sector.readBigUInt64LE(16));
  const name = sector.toString('latin1', NAME_OFFSET, NAME_OFFSET + sector[NAME_OFFSET - 1]);
  const isState = state === SnapshotState.KEPT || state === SnapshotState.DROPPING;
  const isPossible = isState && Number.isSafeInteger(number) && Number.isSafeInteger(takenAt);
  if (crc !== crc32(sector) || !isPossible || !NAME.test(name)) {
    throw formatError(identity, 'its list of snapshots is damaged: restore it from a backup');
  }
  const samples = Array.from({ length: SAMPLES }, (_, index) =>
    sector.readUInt32LE(SAMPLES_OFFSET + 4 * index),
  );
  return { state, number, takenAt, samples, name };
}
