/** qcow2 images on a device of 4096-byte blocks, past the page cache. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { file, openAccess, openDisk, qcow2 } from '../../src/storage/index.ts';
import { cannotLoop, cannotMount, ext4On, loopDevice } from '../support/host-file-systems.ts';
import { imageFolder } from '../support/image-folder.ts';
import { assertClean, qemuImg, qemuImgRequirements } from '../support/qemu-img.ts';

const skip = qemuImgRequirements() ?? (cannotLoop() || cannotMount());
const BLOCK_BYTES = 4096;
const DEVICE_BYTES = 64 * 1024 * 1024;
const CLUSTER_BYTES = 65536;
const DISK_BYTES = 32 * CLUSTER_BYTES;

for (const type of ['zlib', 'zstd']) {
  test(`a compressed image whose file ends within a block: ${type}`, { skip }, async (t) => {
    const folder = imageFolder(t);
    const device = join(folder, 'device');
    writeFileSync(device, '');
    truncateSync(device, DEVICE_BYTES);
    const blocks = ext4On(t, loopDevice(t, device, { sectorBytes: BLOCK_BYTES }));
    const raw = join(folder, 'raw');
    // Half of each cluster can be compressed.
    const expected = Buffer.alloc(DISK_BYTES, 'compress me');
    for (let at = 0; at < DISK_BYTES; at += CLUSTER_BYTES) {
      randomBytes(CLUSTER_BYTES / 2 - at / 512).copy(expected, at);
    }
    writeFileSync(raw, expected);
    const image = join(blocks, 'image.qcow2');
    const options = ['-o', `compression_type=${type}`];
    qemuImg('convert', '-c', '-O', 'qcow2', ...options, raw, image);
    assert.notEqual(statSync(image).size % BLOCK_BYTES, 0, 'it ends within a block');

    const disk = await openDisk(qcow2(file(image, { cache: 'none' })));
    const access = openAccess(disk);
    assert.equal(disk.info.logicalBlockBytes, BLOCK_BYTES);
    const found = Buffer.alloc(DISK_BYTES);
    await access.read(found, 0);
    assert.ok(found.equals(expected));
    const change = Buffer.alloc(BLOCK_BYTES, 'changed');
    for (let at = BLOCK_BYTES; at < DISK_BYTES; at += 3 * CLUSTER_BYTES) {
      await access.write(change, at);
      change.copy(expected, at);
    }
    await access.flush();
    await access.read(found, 0);
    assert.ok(found.equals(expected));
    access.close();
    await disk.close();

    assertClean(image);
    qemuImg('convert', '-O', 'raw', image, raw);
    assert.ok(readFileSync(raw).equals(expected), 'QEMU reads the same');
  });
}
