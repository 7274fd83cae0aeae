/** Backing files of qcow2 images: found, opened to read only, and refused. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import {
  type Disk,
  type DiskLike,
  file,
  openAccess,
  openDisk,
  parseDisk,
  qcow2,
} from '../../../../src/storage/index.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { openDescriptors } from '../../../support/open-descriptors.ts';
import { RecordedDisk } from '../../../support/recorded-disk.ts';

const SIZE_BYTES = 2 ** 20;
const BASE_BYTES = 200 * 1024;

async function contentOf(disk: Disk): Promise<Buffer> {
  const access = openAccess(disk);
  const content = Buffer.alloc(disk.info.sizeBytes, 0xee);
  await access.read(content, 0);
  access.close();
  return content;
}

async function openContent(plan: DiskLike): Promise<Buffer> {
  const disk = await openDisk(plan);
  const content = await contentOf(disk);
  await disk.close();
  return content;
}

/** What the disk is over a raw one of sevens. */
function overSevens(): Buffer {
  return Buffer.concat([Buffer.alloc(BASE_BYTES, 7)], SIZE_BYTES);
}

suite('a backing file', () => {
  test('is relative to the folder of the image, and never written', async (t) => {
    const folder = imageFolder(t);
    mkdirSync(join(folder, 'base'));
    const base = join(folder, 'base', 'base.raw');
    writeFileSync(base, Buffer.alloc(BASE_BYTES, 7));
    const path = join(folder, 'image.qcow2');
    const backing = { path: 'base/base.raw', format: 'raw' } as const;
    await createQcow2(path, { sizeBytes: SIZE_BYTES, backing });
    const disk = await openDisk(qcow2(file(path)));
    assert.deepEqual([disk.below.length, disk.below[1].info.readOnly], [2, true]);
    const expected = overSevens();
    assert.ok((await contentOf(disk)).equals(expected));
    const access = openAccess(disk);
    await access.write(Buffer.alloc(1024, 9), BASE_BYTES - 512);
    await access.discard(0, 65536);
    access.close();
    await disk.close();
    expected.fill(9, BASE_BYTES - 512, BASE_BYTES + 512).fill(0, 0, 65536);
    assert.ok((await openContent(qcow2(file(path)))).equals(expected));
    assert.ok(readFileSync(base).equals(Buffer.alloc(BASE_BYTES, 7)));
  });

  test('is left out, or is another disk', async (t) => {
    const folder = imageFolder(t);
    writeFileSync(join(folder, 'base.raw'), Buffer.alloc(BASE_BYTES, 7));
    const path = join(folder, 'image.qcow2');
    const backing = { path: 'missing', format: 'raw' } as const;
    await createQcow2(path, { sizeBytes: SIZE_BYTES, backing });
    const off = await openContent(parseDisk(`qcow2(file(${path}), backing=off)`));
    assert.ok(off.equals(Buffer.alloc(SIZE_BYTES)));
    const other = await openContent(parseDisk(`qcow2(file(${path}), file(${folder}/base.raw))`));
    assert.ok(other.equals(overSevens()));
    const inMemory = new RecordedDisk(readFileSync(path));
    assert.ok(
      (await openContent(qcow2(inMemory, {}, file(join(folder, 'base.raw'))))).equals(overSevens()),
    );
  });

  test('that is missing, of a format that is not known, or no path, is refused', async (t) => {
    const folder = imageFolder(t);
    const base = join(folder, 'base.raw');
    writeFileSync(base, Buffer.alloc(BASE_BYTES, 7));
    const descriptors = openDescriptors();
    const check = async (
      backing: { path: string; format: 'raw' | 'qcow2' },
      code: string,
      message: RegExp,
    ): Promise<void> => {
      const path = join(folder, `${Math.random()}.qcow2`);
      await createQcow2(path, { sizeBytes: SIZE_BYTES, backing });
      await assert.rejects(openDisk(qcow2(file(path))), (error) => {
        assert.equal((error as { code?: string }).code, code);
        assert.match((error as Error).message, message);
        return true;
      });
    };
    await check(
      { path: 'missing', format: 'raw' },
      'DISK_OPEN_FAILED',
      /cannot open .*missing: no such file/,
    );
    await check(
      { path: 'base.raw', format: 'qcow2' },
      'DISK_FORMAT',
      /base.raw: not a qcow2 image/,
    );
    await check(
      { path: 'nbd://host/disk', format: 'raw' },
      'DISK_FORMAT',
      /"nbd:\/\/host\/disk" is no path/,
    );
    await check(
      { path: 'base.raw', format: 'vmdk' as 'raw' },
      'DISK_FORMAT',
      /base.raw is vmdk: raw and qcow2/,
    );
    assert.deepEqual(openDescriptors(), descriptors);
  });

  test('whose format the image does not say is used if the user says it', async (t) => {
    const folder = imageFolder(t);
    writeFileSync(join(folder, 'base.raw'), Buffer.alloc(BASE_BYTES, 7));
    const path = join(folder, 'image.qcow2');
    await createQcow2(path, {
      sizeBytes: SIZE_BYTES,
      backing: { path: 'base.raw', format: 'raw' },
    });
    const bytes = readFileSync(path);
    bytes.writeUInt32BE(0x12345678, 112);
    writeFileSync(path, bytes);
    await assert.rejects(openDisk(qcow2(file(path))), {
      code: 'DISK_FORMAT',
      message: `${path}: it does not say the format of its backing file base.raw: say backing-format`,
    });
    const plan = parseDisk(`qcow2(file(${path}), backing-format=raw)`);
    assert.ok((await openContent(plan)).equals(overSevens()));
  });

  test('that is the image itself, in the end, is refused', async (t) => {
    const folder = imageFolder(t);
    const [first, second] = ['first', 'second'].map((name) => join(folder, name));
    const options = (path: string) =>
      ({ sizeBytes: SIZE_BYTES, backing: { path, format: 'qcow2' } }) as const;
    await createQcow2(first, options('second'));
    await createQcow2(second, options(first));
    const descriptors = openDescriptors();
    await assert.rejects(openDisk(qcow2(file(first)), { readOnly: true }), {
      code: 'DISK_FORMAT',
      message: `${second}: its backing file ${first} is, in the end, the image itself`,
    });
    assert.deepEqual(openDescriptors(), descriptors);
  });

  test('of an image that is in no file is refused', async (t) => {
    const path = join(imageFolder(t), 'image.qcow2');
    const backing = { path: '/etc/passwd', format: 'raw' } as const;
    await createQcow2(path, { sizeBytes: SIZE_BYTES, backing });
    const inMemory = new RecordedDisk(readFileSync(path));
    await assert.rejects(openDisk(qcow2(inMemory)), {
      code: 'DISK_OPTION',
      message:
        'a disk object: its backing file is "/etc/passwd", which only an image in a file may name: ' +
        'give it as a second disk, or say backing=off',
    });
  });
});
