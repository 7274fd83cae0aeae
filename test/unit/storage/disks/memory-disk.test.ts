/** The disk in memory: like a file, but thin, and nobody's who has not got it. */
import assert from 'node:assert/strict';
import { fstatSync, ftruncateSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  adoptDisk,
  DiskFlag,
  memory,
  openAccess,
  openDisk,
  parseDisk,
} from '../../../../src/storage/index.ts';
import { DiskSession, ENGINES } from '../../../support/disk-session.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { batchesArbitrary, ModelledDisk } from '../../../support/modelled-disk.ts';
import { openDescriptors } from '../../../support/open-descriptors.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { writeFileAt } from '../../../support/served-disk.ts';

const MIB = 2 ** 20;
const SIZE_BYTES = 256 * 1024;

for (const { engine, skip } of ENGINES) {
  test(`${engine}: random requests agree with the model`, { skip }, async () => {
    const batches = batchesArbitrary({ sizeBytes: SIZE_BYTES, discardZeroes: true });
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        using session = new DiskSession(await openDisk(memory(SIZE_BYTES)), engine);
        const model = new ModelledDisk(session, Buffer.alloc(SIZE_BYTES));
        for (const batch of all) model.run(batch);
        model.check();
      }),
      propertyOptions(30),
    );
  });
}

test('only what is written takes up memory, and what is given back does not', async () => {
  const disk = await openDisk(memory(2 ** 40));
  using session = new DiskSession(disk, 'epoll');
  const takenUp = (): number => fstatSync(disk.descriptor ?? -1).blocks * 512;
  assert.equal(takenUp(), 0);
  const data = Buffer.alloc(4 * MIB, 1);
  assert.equal(session.write(2 ** 39, data), 0);
  assert.equal(takenUp(), 4 * MIB);
  assert.equal(session.discard(2 ** 39, MIB), 0);
  assert.equal(takenUp(), 3 * MIB);
  assert.equal(session.writeZeroes(2 ** 39 + MIB, MIB, DiskFlag.UNMAP), 0);
  assert.equal(takenUp(), 2 * MIB);
  assert.deepEqual(
    session.read(2 ** 39 + MIB, 2 * MIB),
    Buffer.concat([Buffer.alloc(MIB), data.subarray(0, MIB)]),
  );
});

test('nobody can make it smaller under its users', async () => {
  const disk = await openDisk(memory(MIB));
  assert.throws(() => ftruncateSync(disk.descriptor ?? -1, 512), { code: 'EPERM' });
  assert.equal(disk.currentSizeBytes(), MIB);
  assert.equal(disk.nameProblem?.(), undefined);
  await disk.close();
});

test('another thread gets the same memory', async () => {
  const disk = await openDisk(memory(MIB));
  const other = adoptDisk(structuredClone(disk.share()));
  assert.equal(other.kind, 'memory');
  const access = openAccess(disk);
  const there = openAccess(other);
  await access.write(Buffer.alloc(4096, 7), 8192);
  const read = Buffer.alloc(4096);
  await there.read(read, 8192);
  assert.deepEqual(read, Buffer.alloc(4096, 7));
  there.close();
  access.close();
  await other.close();
  await disk.close();
});

test('it can begin with what an image holds, which is left as it is', async (t) => {
  const path = join(imageFolder(t), 'image');
  // Holes, data across the size of a copy, and a last sector that is there in part.
  const content = Buffer.alloc(3 * MIB + 700);
  content.fill(5, MIB - 4096, 2 * MIB + 512);
  content.fill(6, 3 * MIB);
  writeFileSync(path, '');
  truncateSync(path, content.length);
  writeFileAt(path, MIB - 4096, content.subarray(MIB - 4096, 2 * MIB + 512));
  writeFileAt(path, 3 * MIB, content.subarray(3 * MIB));
  for (const [text, sizeBytes] of [
    [`memory,file=${path}`, 3 * MIB + 1024],
    [`memory(8M, file=${path})`, 8 * MIB],
  ] as const) {
    const disk = await openDisk(parseDisk(text));
    assert.equal(disk.info.sizeBytes, sizeBytes);
    assert.ok(fstatSync(disk.descriptor ?? -1).blocks * 512 < 2 * MIB, 'holes stay holes');
    const access = openAccess(disk);
    const found = Buffer.alloc(sizeBytes);
    await access.read(found, 0);
    assert.ok(found.equals(Buffer.concat([content, Buffer.alloc(sizeBytes - content.length)])));
    await access.write(Buffer.alloc(512, 9), 0);
    access.close();
    await disk.close();
  }
});

test('what it cannot be made of is said, and nothing is left open', async (t) => {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(4096));
  const before = openDescriptors();
  const missing =
    'memory: parameter "size=<bytes>" is missing, and there is no file to take it from';
  for (const [text, code, message] of [
    ['memory', 'DISK_OPTION', missing],
    [`memory(1K, file=${path})`, 'DISK_OPTION', `memory: size is 1024, but ${path} has 4096 bytes`],
    [
      `memory(file=${path}.no)`,
      'DISK_OPEN_FAILED',
      `cannot open ${path}.no: no such file or directory`,
    ],
  ] as const) {
    const opening = Promise.resolve().then(() => openDisk(parseDisk(text)));
    await assert.rejects(opening, { code, message });
  }
  assert.deepEqual(openDescriptors(), before);
});
