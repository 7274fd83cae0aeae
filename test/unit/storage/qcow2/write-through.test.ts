/** Images in a disk that has no volatile cache: what was answered, or flushed, is in the file. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import {
  cache,
  type DiskAccess,
  type DiskPlan,
  file,
  openAccess,
  openDisk,
  qcow2,
} from '../../../../src/storage/index.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { RecordedDisk } from '../../../support/recorded-disk.ts';

const CLUSTER_BYTES = 65536;
const SIZE_BYTES = 8 * CLUSTER_BYTES;

/** An image's path, and an access to it as the plan makes a disk of it. */
async function opened(
  t: TestContext,
  plan: (image: DiskPlan) => DiskPlan,
): Promise<{ path: string; access: DiskAccess }> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: SIZE_BYTES, clusterBytes: CLUSTER_BYTES });
  const disk = await openDisk(plan(qcow2(file(path, { cache: 'writethrough' }))));
  const access = openAccess(disk);
  t.after(async () => {
    access.close();
    await disk.close();
  });
  return { path, access };
}

/** What a process finds that opens the image now, while the other has gone. */
async function foundAt(path: string, offset: number): Promise<number> {
  const disk = await openDisk(qcow2(new RecordedDisk(readFileSync(path))));
  const access = openAccess(disk);
  const found = Buffer.alloc(512);
  await access.read(found, offset);
  access.close();
  await disk.close();
  return found[0];
}

suite('an image in a disk without a volatile cache', () => {
  test('what was written is in it when the write is answered', async (t) => {
    const { access, path } = await opened(t, (image) => image);
    await access.write(Buffer.alloc(4096, 7), CLUSTER_BYTES);
    assert.equal(await foundAt(path, CLUSTER_BYTES), 7);
    await access.writeZeroes(0, 2 * CLUSTER_BYTES, { mayUnmap: true });
    assert.equal(await foundAt(path, CLUSTER_BYTES), 0);
  });

  test('what is flushed is in it, below filters too', async (t) => {
    const { access, path } = await opened(t, (image) => cache(image));
    assert.equal(access.info.writeBack, true);
    await access.write(Buffer.alloc(4096, 9), CLUSTER_BYTES);
    await access.flush();
    assert.equal(await foundAt(path, CLUSTER_BYTES), 9);
  });

  test('it is flushed: what has been discarded is gone', async (t) => {
    const { access, path } = await opened(t, (image) => image);
    assert.equal(access.info.writeBack, true);
    await access.write(Buffer.alloc(CLUSTER_BYTES, 9), CLUSTER_BYTES);
    await access.discard(CLUSTER_BYTES, CLUSTER_BYTES);
    await access.flush();
    assert.equal(await foundAt(path, CLUSTER_BYTES), 0);
  });
});
