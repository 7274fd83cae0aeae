/**
 * Where internal snapshots have their tables: no more of them is read than it takes to leave them
 * alone. QEMU's docs/interop/qcow2, "Snapshots".
 */
import { readBig } from './big-endian.ts';
import type { Qcow2Header } from './header.ts';
import type { ImageFile } from './image-file.ts';
import { ENTRY_BYTES } from './layout.ts';
import { refuse } from './refusal.ts';

/** QEMU's limit. */
const MAX_SNAPSHOTS = 65_536;
/** Bytes of an entry before those of which it says how many there are. */
const ENTRY_START_BYTES = 40;
const PIECE_BYTES = 2 ** 20;

/** Bytes of the image's file: from `start` up to, but not including, `end`. */
export interface FileRange {
  readonly start: number;
  readonly end: number;
}

/** The snapshot table, and the L1 tables it leads to. Rejects with a StorageError if it is damaged. */
export async function snapshotRanges(
  file: ImageFile,
  header: Qcow2Header,
  name: string,
): Promise<FileRange[]> {
  const { snapshotCount, snapshotsOffset } = header;
  if (snapshotCount === 0) return [];
  const isPlaced = snapshotsOffset % 2 ** header.clusterBits === 0 && snapshotsOffset > 0;
  if (!isPlaced || snapshotCount > MAX_SNAPSHOTS) damaged(name);
  const ranges: FileRange[] = [];
  let piece: Piece = { start: snapshotsOffset, bytes: Buffer.alloc(0) };
  let at = snapshotsOffset;
  for (let index = 0; index < snapshotCount; index++) {
    if (at + ENTRY_START_BYTES > file.sizeBytes) damaged(name);
    if (at + ENTRY_START_BYTES > piece.start + piece.bytes.length) piece = await read(file, at);
    const entry = piece.bytes.subarray(at - piece.start);
    const start = readBig(entry, 0);
    const length = entry.readUInt32BE(8) * ENTRY_BYTES;
    if (start + length <= file.sizeBytes) ranges.push({ start, end: start + length });
    const named = entry.readUInt16BE(12) + entry.readUInt16BE(14);
    const bytes = ENTRY_START_BYTES + entry.readUInt32BE(36) + named;
    at += Math.ceil(bytes / 8) * 8;
  }
  ranges.push({ start: snapshotsOffset, end: at });
  return ranges;
}

interface Piece {
  /** In the image's file. */
  readonly start: number;
  readonly bytes: Buffer;
}

/** A piece from the block on that `at` is in. */
async function read(file: ImageFile, at: number): Promise<Piece> {
  const start = Math.floor(at / file.blockBytes) * file.blockBytes;
  const bytes = Buffer.alloc(PIECE_BYTES);
  await file.read(bytes, start);
  return { start, bytes };
}

function damaged(name: string): never {
  refuse(name, 'its snapshot table is damaged: repair it by qemu-img check -r all');
}
