/** Blocks of refcounts that make room for others: no count is lost, whatever is under way. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { openAccess } from '../../../../src/storage/index.ts';
import { parseHeader } from '../../../../src/storage/qcow2/header.ts';
import { HostPlaces } from '../../../../src/storage/qcow2/host-places.ts';
import { ImageFile } from '../../../../src/storage/qcow2/image-file.ts';
import { Layout } from '../../../../src/storage/qcow2/layout.ts';
import { Refcounts } from '../../../../src/storage/qcow2/refcounts.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { RecordedDisk, type RecordedWrite } from '../../../support/recorded-disk.ts';

const CLUSTER_BYTES = 512;
/** Of clusters whose counts are in one block. */
const BLOCK_SPAN = CLUSTER_BYTES * (CLUSTER_BYTES / 2);
const BLOCKS = 7;
/** Blocks that are kept in memory. */
const KEPT = 4;

/** A disk whose requests take as many turns as they are told. */
class PacedDisk extends RecordedDisk {
  writeTurns = 0;
  onRead: (offset: number) => void = () => {};

  override async read(buffer: Uint8Array, offset: number): Promise<void> {
    this.onRead(offset);
    await turn();
    await super.read(buffer, offset);
  }

  override async write(buffer: Uint8Array, offset: number, request: RecordedWrite): Promise<void> {
    const data = Buffer.from(buffer);
    for (let turns = this.writeTurns; turns > 0; turns--) await turn();
    await super.write(data, offset, request);
  }
}

/** Refcounts of an image with some blocks, few of which are kept. */
async function opened(t: TestContext): Promise<{ below: PacedDisk; refcounts: Refcounts }> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: 2 ** 20, clusterBytes: CLUSTER_BYTES });
  const bytes = Buffer.concat([readFileSync(path)], BLOCKS * BLOCK_SPAN);
  const header = parseHeader(bytes, bytes.length, 'image');
  const below = new PacedDisk(bytes);
  const disk = below.asDisk();
  // As with files, requests at the same place are not kept in order.
  const access = Object.assign(openAccess(disk), {
    read: (buffer: Uint8Array, offset: number) => below.read(buffer, offset),
    write: (buffer: Uint8Array, offset: number) => below.write(buffer, offset, { stable: false }),
  });
  const file = new ImageFile(disk, access);
  const layout = new Layout(header);
  const places = new HostPlaces(file, header, layout);
  const refcounts = await Refcounts.read(file, header, layout, places, KEPT * CLUSTER_BYTES);
  for (let index = 1; index < BLOCKS; index++) refcounts.addBlock(index, index * BLOCK_SPAN);
  await refcounts.write();
  // From here on as many are kept as should be.
  await refcounts.block(0);
  return { below, refcounts };
}

async function count(refcounts: Refcounts, index: number, entry: number): Promise<number> {
  return refcounts.get(await refcounts.block(index), entry);
}

async function raise(refcounts: Refcounts, index: number, entry: number): Promise<void> {
  refcounts.set(await refcounts.block(index), entry, 1);
}

test('a block that is being written is not read again before it is there', async (t) => {
  const { below, refcounts } = await opened(t);
  await raise(refcounts, 3, 9);
  for (const index of [4, 5, 6]) await count(refcounts, index, 0);
  below.writeTurns = 20;
  const writing = refcounts.write();
  for (let turns = 3; turns > 0; turns--) await turn();
  // The oldest makes room for this one, and is wanted again at once.
  await count(refcounts, 1, 0);
  assert.equal(await count(refcounts, 3, 9), 1);
  await writing;
});

test('two that make room do not take away a block that has come again', async (t) => {
  const { below, refcounts } = await opened(t);
  for (const index of [1, 2, 3, 4]) await raise(refcounts, index, 5);
  below.writeTurns = 5;
  let raising: Promise<void> | undefined;
  // The first has taken block 1 away, and the second, which waits for a turn to, is about to.
  below.onRead = (offset) => {
    if (offset === 5 * BLOCK_SPAN) raising = raise(refcounts, 1, 6);
  };
  await Promise.all([refcounts.block(5), refcounts.write(), refcounts.block(6)]);
  await raising;
  assert.deepEqual([await count(refcounts, 1, 5), await count(refcounts, 1, 6)], [1, 1]);
});
