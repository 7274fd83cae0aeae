/**
 * Images whose refcounts say that a table is free: it is not overwritten. The image is marked as
 * corrupt, as QEMU does, and nothing is changed any more.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { file, openAccess, openDisk, qcow2, StorageError } from '../../../../src/storage/index.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { RecordingLogger } from '../../../support/recording-logger.ts';

const CLUSTER_BYTES = 4096;
const SIZE_BYTES = 2 ** 20;

/** Tables, by where their offset is found. */
const TABLES: Readonly<Record<string, (image: Buffer) => number>> = {
  'an L2 table': (image) => offsetAt(image, offsetAt(image, 40)),
  'a block of refcounts': (image) => offsetAt(image, offsetAt(image, 48)),
  'the L1 table': (image) => offsetAt(image, 40),
};

function offsetAt(image: Buffer, at: number): number {
  return Number(image.readBigUInt64BE(at) & 0x00ffffffffffffffn);
}

/** An image with some content, in which a table has no user. */
async function damagedImage(
  t: TestContext,
  tableOf: (image: Buffer) => number,
  version: 2 | 3,
): Promise<string> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: SIZE_BYTES, clusterBytes: CLUSTER_BYTES, version });
  const disk = await openDisk(qcow2(file(path)));
  const access = openAccess(disk);
  await access.write(Buffer.alloc(8 * CLUSTER_BYTES, 5), 0);
  access.close();
  await disk.close();
  const image = readFileSync(path);
  const block = offsetAt(image, offsetAt(image, 48));
  image.writeUInt16BE(0, block + (2 * tableOf(image)) / CLUSTER_BYTES);
  writeFileSync(path, image);
  return path;
}

suite('a table that nobody counts is not overwritten', () => {
  for (const [name, tableOf] of Object.entries(TABLES)) {
    for (const version of [2, 3] as const) {
      test(`${name}, version ${version}`, async (t) => {
        const path = await damagedImage(t, tableOf, version);
        const before = readFileSync(path);
        const logger = new RecordingLogger();
        const disk = await openDisk(qcow2(file(path)));
        disk.useLogger?.(logger);
        const access = openAccess(disk);
        const data = Buffer.alloc(CLUSTER_BYTES, 6);
        for (const cluster of [100, 101, 0]) {
          const write = async (): Promise<void> => access.write(data, cluster * CLUSTER_BYTES);
          await assert.rejects(write(), { code: 'EIO' }, `cluster ${cluster}`);
        }
        const zero = async (): Promise<void> => access.writeZeroes(0, CLUSTER_BYTES);
        await assert.rejects(zero(), { code: 'EIO' });
        const found = Buffer.alloc(8 * CLUSTER_BYTES);
        await access.read(found, 0);
        assert.ok(found.equals(Buffer.alloc(8 * CLUSTER_BYTES, 5)));
        await access.flush();
        access.close();
        await disk.close();
        assert.equal(logger.errors.length, 1);
        assert.match(logger.errors[0], /refcount of its table at \d+ is 0.*qemu-img check -r all/);
        assertMarkedOnly(path, before, version);
        await (await openDisk(qcow2(file(path)), { readOnly: true })).close();
      });
    }
  }
});

/** Fails if more of the image has changed than the mark; an image with a mark is not written. */
function assertMarkedOnly(path: string, before: Buffer, version: 2 | 3): void {
  const after = readFileSync(path);
  if (version === 3) {
    assert.equal(after.readUInt32BE(76), 2);
    after.writeUInt32BE(0, 76);
  }
  assert.ok(after.equals(before));
}

test('an image that has been marked is not opened to be written', async (t) => {
  const path = await damagedImage(t, TABLES['an L2 table'], 3);
  const disk = await openDisk(qcow2(file(path)));
  const access = openAccess(disk);
  const write = async (): Promise<void> => access.write(Buffer.alloc(512), SIZE_BYTES - 512);
  await assert.rejects(write(), { code: 'EIO' });
  access.close();
  await disk.close();
  await assert.rejects(openDisk(qcow2(file(path))), (error) => {
    assert.ok(error instanceof StorageError);
    assert.match(error.message, /it is marked as corrupt/);
    return true;
  });
});
