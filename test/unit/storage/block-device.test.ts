/** Block devices as disks: loop devices over files, which only root can make. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { DiskFlag, openFileDisk } from '../../../src/storage/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import { cannotLoop, cannotMount, ext4On, loopDevice } from '../../support/host-file-systems.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { batchesArbitrary, ModelledDisk } from '../../support/modelled-disk.ts';
import { propertyOptions } from '../../support/property-options.ts';

const MIB = 2 ** 20;
const SIZE_BYTES = 256 * 1024;
const noLoop = cannotLoop();

function backingFile(t: TestContext, content: Buffer): string {
  const path = join(imageFolder(t), 'backing');
  writeFileSync(path, content);
  return path;
}

for (const sectorBytes of [512, 4096]) {
  test(`the geometry of a device with sectors of ${sectorBytes}`, { skip: noLoop }, (t) => {
    const device = loopDevice(t, backingFile(t, Buffer.alloc(3 * MIB)), { sectorBytes });
    for (const cache of ['writeback', 'none'] as const) {
      const disk = openFileDisk({ path: device, cache });
      assert.equal(disk.info.sizeBytes, 3 * MIB);
      assert.equal(disk.info.logicalBlockBytes, sectorBytes);
      assert.ok(disk.info.physicalBlockBytes >= sectorBytes);
      assert.ok(disk.info.minIoBytes >= sectorBytes);
      assert.match(disk.description, /: block device of 3145728 bytes/);
      disk.close();
    }
  });
}

for (const { engine, skip } of ENGINES) {
  for (const cache of ['writeback', 'none', 'writethrough'] as const) {
    for (const sectorBytes of [512, 4096]) {
      const where = `${engine}, cache=${cache}, sectors of ${sectorBytes}`;
      // Smaller requests than the device's own sectors come from firmware and old drivers.
      test(`${where}: requests of 512 bytes and more`, { skip: skip || noLoop }, (t) => {
        const backing = backingFile(t, Buffer.alloc(SIZE_BYTES, 'x'));
        const device = loopDevice(t, backing, { sectorBytes });
        const content = Buffer.alloc(SIZE_BYTES, 'x');
        {
          const disk = openFileDisk({ path: device, cache, blockBytes: 512 });
          using session = new DiskSession(disk, engine);
          const model = new ModelledDisk(session, content);
          fc.assert(
            fc.property(
              batchesArbitrary({ sizeBytes: SIZE_BYTES, discardZeroes: false }),
              (batches) => {
                for (const batch of batches) model.run(batch);
                model.check();
              },
            ),
            propertyOptions(6),
          );
          assert.equal(session.flush(), 0);
        }
        assert.ok(readFileSync(device).equals(content));
      });
    }
  }

  test(`${engine}: discarded space is given back by the device`, { skip: skip || noLoop }, (t) => {
    const backing = backingFile(t, Buffer.alloc(4 * MIB, 'x'));
    const device = loopDevice(t, backing);
    using session = new DiskSession(openFileDisk({ path: device }), engine);
    const before = statSync(backing).blocks;
    assert.equal(session.discard(MIB, 2 * MIB), 0);
    assert.equal(session.discard(512, 1024), 0, 'less than the device can do is no error');
    assert.equal(session.flush(), 0);
    assert.ok(before - statSync(backing).blocks >= (2 * MIB) / 512);
    assert.deepEqual(session.read(0, 512), Buffer.alloc(512, 'x'));
    assert.deepEqual(session.read(3 * MIB, 512), Buffer.alloc(512, 'x'));
  });

  test(`${engine}: zeroes with UNMAP, over what is cached`, { skip: skip || noLoop }, (t) => {
    const backing = backingFile(t, Buffer.alloc(4 * MIB, 'x'));
    const device = loopDevice(t, backing);
    using session = new DiskSession(openFileDisk({ path: device }), engine);
    assert.deepEqual(session.read(0, MIB), Buffer.alloc(MIB, 'x'));
    assert.equal(session.write(MIB, Buffer.alloc(MIB, 'y')), 0);
    assert.equal(session.writeZeroes(MIB / 2, MIB, DiskFlag.UNMAP), 0);
    const expected = Buffer.alloc(2 * MIB, 'x')
      .fill('y', MIB)
      .fill(0, MIB / 2, 1.5 * MIB);
    assert.deepEqual(session.read(0, 2 * MIB), expected);
  });
}

test('a device is open for one writer, and not while it is mounted', { skip: noLoop }, (t) => {
  const device = loopDevice(t, backingFile(t, Buffer.alloc(4 * MIB)));
  const disk = openFileDisk({ path: device });
  assert.throws(() => openFileDisk({ path: device }), { code: 'DISK_IN_USE' });
  disk.close();
  openFileDisk({ path: device }).close();
});

test('a mounted device is refused', { skip: noLoop || cannotMount() }, (t) => {
  const device = loopDevice(t, backingFile(t, Buffer.alloc(4 * MIB)));
  ext4On(t, device);
  const hint = 'stop that process, or use --locking=off if you know that it is safe';
  assert.throws(() => openFileDisk({ path: device }), {
    code: 'DISK_IN_USE',
    message: `${device} is in use: it is mounted (${hint})`,
  });
});

test('a device that refuses writes is opened to be read only', { skip: noLoop }, (t) => {
  const backing = backingFile(t, Buffer.alloc(MIB, 'x'));
  const device = loopDevice(t, backing, { readOnly: true });
  assert.throws(() => openFileDisk({ path: device }), {
    code: 'DISK_OPEN_FAILED',
    message: `cannot open ${device}: the device is read-only, use --read-only`,
  });
  using session = new DiskSession(openFileDisk({ path: device, readOnly: true }), 'epoll');
  assert.deepEqual(session.read(0, MIB), Buffer.alloc(MIB, 'x'));
});
