/**
 * More requests under way than the cache of tables has room for: each reads what is its own, and all
 * of them end.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import {
  type Disk,
  type DiskAccess,
  openAccess,
  openDisk,
  qcow2,
} from '../../../../src/storage/index.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { RecordedDisk } from '../../../support/recorded-disk.ts';

const CLUSTER_BYTES = 512;
/** Of the disk, whose entries are read and kept together. */
const SLICE_BYTES = CLUSTER_BYTES * (CLUSTER_BYTES / 8);
/** The smallest cache has room for 128 slices. */
const TABLE_CACHE = 65536;
const SLICES = 300;
/** Every other cluster of so many is there: too many pieces for a request to be split. */
const PIECES = 18;
const READ_BYTES = 2 * PIECES * CLUSTER_BYTES;

/** Says how often it was read from. */
class CountedDisk extends RecordedDisk {
  reads = 0;

  override read(buffer: Uint8Array, offset: number): void | Promise<void> {
    this.reads += 1;
    return super.read(buffer, offset);
  }
}

interface Opened {
  readonly below: CountedDisk;
  readonly disk: Disk;
  readonly access: DiskAccess;
}

async function opened(t: TestContext, slices: number): Promise<Opened> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: slices * SLICE_BYTES, clusterBytes: CLUSTER_BYTES });
  const below = new CountedDisk(readFileSync(path));
  const disk = await openDisk(qcow2(below.asDisk(), { tableCache: TABLE_CACHE }));
  return { below, disk, access: openAccess(disk) };
}

function contentOf(slice: number, piece: number): Buffer {
  const content = Buffer.alloc(CLUSTER_BYTES);
  content.writeUInt32LE(slice + 1, 0);
  content.writeUInt32LE(piece + 1, CLUSTER_BYTES - 4);
  return content;
}

/** Write every other cluster at the start of each slice. */
async function fill(access: DiskAccess, slices: number): Promise<void> {
  for (let slice = 0; slice < slices; slice++) {
    for (let piece = 0; piece < PIECES; piece++) {
      const offset = slice * SLICE_BYTES + 2 * piece * CLUSTER_BYTES;
      await access.write(contentOf(slice, piece), offset);
    }
  }
  await access.flush();
}

function expectedOf(slice: number): Buffer {
  const zeros = Buffer.alloc(CLUSTER_BYTES);
  return Buffer.concat(
    Array.from({ length: PIECES }, (_, piece) => [contentOf(slice, piece), zeros]).flat(),
  );
}

suite('a cache of tables that is too small for the requests under way', () => {
  test('reads give what is there', async (t) => {
    const { access, disk } = await opened(t, SLICES);
    await fill(access, SLICES);
    const wrong: number[] = [];
    const read = async (slice: number): Promise<void> => {
      const found = Buffer.alloc(READ_BYTES, 0xee);
      await access.read(found, slice * SLICE_BYTES);
      if (!found.equals(expectedOf(slice))) wrong.push(slice);
    };
    await Promise.all(Array.from({ length: SLICES }, (_, slice) => read(slice)));
    assert.deepEqual(wrong, []);
    access.close();
    await disk.close();
  });

  test('writes, zeroes and reads of what is written go on together', async (t) => {
    const { access, disk } = await opened(t, SLICES);
    await fill(access, SLICES);
    const found = Array.from({ length: SLICES }, () => Buffer.alloc(READ_BYTES, 0xee));
    const start = (slice: number): number => slice * SLICE_BYTES;
    const others = 2 * PIECES * CLUSTER_BYTES;
    const requests = found.flatMap((buffer, slice) => [
      access.write(contentOf(slice, 77), start(slice) + others),
      access.read(buffer, start(slice)),
      access.writeZeroes(start(slice) + others + CLUSTER_BYTES, 1024, { mayUnmap: true }),
      access.discard(start(slice) + others + 4096, 1024),
      access.write(contentOf(slice, 78), start(slice) + others + 8192),
    ]);
    await Promise.all(requests.map(async (request) => request));
    await access.flush();
    for (let slice = 0; slice < SLICES; slice++) {
      assert.ok(found[slice].equals(expectedOf(slice)), `slice ${slice}`);
      const written = Buffer.alloc(CLUSTER_BYTES);
      await access.read(written, start(slice) + others);
      assert.ok(written.equals(contentOf(slice, 77)), `what was written to slice ${slice}`);
    }
    access.close();
    await disk.close();
  });

  test('where there is no table nothing is loaded, and nothing makes room for it', async (t) => {
    const { access, below, disk } = await opened(t, 1000);
    const reads = Array.from({ length: 1000 }, async (_, slice) => {
      const found = Buffer.alloc(CLUSTER_BYTES, 0xee);
      await access.read(found, slice * SLICE_BYTES);
      return found.equals(Buffer.alloc(CLUSTER_BYTES));
    });
    const before = below.reads;
    assert.ok((await Promise.all(reads)).every((isZeros) => isZeros));
    assert.equal(below.reads, before, 'nothing is read where there is no table');
    access.close();
    await disk.close();
  });

  test('a request over more slices than there is room for', async (t) => {
    const { access, disk } = await opened(t, SLICES);
    const written = Buffer.alloc(SLICES * SLICE_BYTES);
    for (let at = 0; at < written.length; at += CLUSTER_BYTES) written.writeUInt32LE(at, at);
    const half = written.length / 2;
    await Promise.all([
      access.write(written.subarray(0, half), 0),
      access.write(written.subarray(half), half),
    ]);
    const found = Buffer.alloc(written.length);
    await Promise.all([
      access.read(found.subarray(0, half), 0),
      access.read(found.subarray(half), half),
    ]);
    assert.ok(found.equals(written));
    access.close();
    await disk.close();
  });
});
