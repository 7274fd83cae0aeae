/** Random requests on a disk and on an array of bytes, several at a time, by its access. */
import assert from 'node:assert/strict';
import { type Disk, type DiskAccess, openAccess } from '../../src/storage/index.ts';
import type { Random } from './power-loss.ts';

const SECTOR_BYTES = 512;

export interface FilterModelOptions {
  readonly random: Random;
  readonly batches: number;
  readonly maxSectors?: number;
  /** Discarded sectors may be as before, too; default: they read as zeros. */
  readonly keepsDiscarded?: boolean;
  /** Between batches, when nothing is under way. */
  readonly onQuiet?: (batch: number) => Promise<void> | void;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * Compare a disk with what it should hold. @param model - what it holds; changed as the disk is.
 */
export async function compareWithModel(
  disk: Disk,
  model: Buffer,
  options: FilterModelOptions,
): Promise<void> {
  const { random, batches, onQuiet } = options;
  const access = openAccess(disk);
  for (let batch = 0; batch < batches; batch++) {
    const taken: Range[] = [];
    const requests: Promise<void>[] = [];
    for (let size = Math.floor(random() * 8); size >= 0; size--) {
      const range = freeRange(taken, model.length, options);
      if (range !== undefined) requests.push(request(access, model, range, options));
    }
    await Promise.all(requests);
    await onQuiet?.(batch);
  }
  await compare(access, model);
  access.close();
}

/** Sectors that no other request of the batch touches. */
function freeRange(
  taken: Range[],
  sizeBytes: number,
  { random, maxSectors = 40 }: FilterModelOptions,
): Range | undefined {
  const sectors = sizeBytes / SECTOR_BYTES;
  const first = Math.floor(random() * sectors);
  const count = Math.min(sectors - first, 1 + Math.floor(random() ** 2 * maxSectors));
  const range = { start: first * SECTOR_BYTES, end: (first + count) * SECTOR_BYTES };
  if (taken.some(({ start, end }) => start < range.end && range.start < end)) return undefined;
  taken.push(range);
  return range;
}

async function request(
  access: DiskAccess,
  model: Buffer,
  { start, end }: Range,
  { random, keepsDiscarded = false }: FilterModelOptions,
): Promise<void> {
  const length = end - start;
  const expected = model.subarray(start, end);
  const kind = random();
  if (kind < 0.4) {
    const buffer = new Uint8Array(length);
    await access.read(buffer, start);
    assert.ok(expected.equals(buffer), `${length} bytes read at ${start}`);
  } else if (kind < 0.75) {
    const data = Buffer.alloc(length, 1 + Math.floor(random() * 255));
    await access.write(data, start, { stable: random() < 0.2 });
    data.copy(model, start);
  } else if (kind < 0.85) {
    await access.writeZeroes(start, length, { mayUnmap: random() < 0.5 });
    expected.fill(0);
  } else if (kind < 0.95) {
    await access.discard(start, length);
    if (!keepsDiscarded) expected.fill(0);
    else await takeOver(access, expected, start);
  } else {
    await access.flush();
  }
}

/** Each sector is as before, or zeros. */
async function takeOver(access: DiskAccess, expected: Buffer, start: number): Promise<void> {
  const found = Buffer.alloc(expected.length);
  await access.read(found, start);
  for (let at = 0; at < found.length; at += SECTOR_BYTES) {
    const sector = found.subarray(at, at + SECTOR_BYTES);
    const isZero = sector.every((byte) => byte === 0);
    if (!isZero) assert.ok(sector.equals(expected.subarray(at, at + SECTOR_BYTES)), `at ${at}`);
  }
  found.copy(expected);
}

async function compare(access: DiskAccess, model: Buffer): Promise<void> {
  const content = Buffer.alloc(model.length);
  await access.read(content, 0);
  for (let at = 0; at < model.length; at += SECTOR_BYTES) {
    const isSame = content.subarray(at, at + SECTOR_BYTES).equals(model.subarray(at, at + 512));
    assert.ok(isSame, `sector ${at / SECTOR_BYTES} is another one in the end`);
  }
}
