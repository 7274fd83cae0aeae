/** What is said of images that are served raw; what qemu-img makes is recognised in test/interop. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import {
  type DiskLike,
  encrypt,
  file,
  openDisk,
  parseDisk,
  qcow2,
  rawImageWarning,
} from '../../../src/storage/index.ts';
import { createQcow2 } from '../../../src/storage/tools.ts';
import { type CleanUp, imageFolder } from '../../support/image-folder.ts';
import { luksImage, PASSPHRASE } from '../../support/luks-image.ts';
import { patternBytes } from '../../support/request-bytes.ts';

const DISK_BYTES = 2 ** 20;

async function warningOf(like: DiskLike): Promise<string | undefined> {
  const disk = await openDisk(like);
  try {
    return rawImageWarning(disk);
  } finally {
    await disk.close();
  }
}

async function qcow2Image(t: CleanUp, name = 'image.qcow2'): Promise<string> {
  const path = join(imageFolder(t), name);
  await createQcow2(path, { sizeBytes: DISK_BYTES });
  return path;
}

function imageOf(t: CleanUp, content: Uint8Array): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, content);
  return path;
}

/** Bytes at a place in a disk of others. */
function withBytes(at: number, bytes: Uint8Array | string): Buffer {
  const content = Buffer.from(patternBytes(DISK_BYTES, 3));
  Buffer.from(bytes as string, 'latin1').copy(content, at);
  return content;
}

test('a qcow2 image is named, with the disk that is meant, and is not touched', async (t) => {
  const path = await qcow2Image(t);
  const before = [readFileSync(path), statSync(path).mtimeMs];
  const warning = await warningOf(file(path));
  const found = `${path} begins like a qcow2 image, and is served as it is, raw`;
  assert.equal(warning, `${found}: for the disk in it use --disk 'qcow2(file(${path}))'`);
  assert.deepEqual([readFileSync(path), statSync(path).mtimeMs], before);
});

test('what is to be used can be used, whatever the path is', async (t) => {
  for (const name of ['a b.qcow2', 'a,b).qcow2', 'a"b\\c.qcow2']) {
    const path = await qcow2Image(t, name);
    const expression = /--disk '(.*)'$/.exec((await warningOf(file(path))) ?? '')?.[1] ?? '';
    const disk = await openDisk(parseDisk(expression));
    assert.equal(disk.info.sizeBytes, DISK_BYTES);
    assert.equal(rawImageWarning(disk), undefined);
    await disk.close();
  }
});

test('containers of both versions of LUKS', async (t) => {
  for (const version of [1, 2] as const) {
    const { path } = await luksImage(t, 65536, { version });
    assert.match((await warningOf(file(path))) ?? '', /begins like a LUKS container/);
    assert.equal(await warningOf(encrypt(file(path), { passphrase: PASSPHRASE })), undefined);
  }
});

suite('the others, by their first bytes', () => {
  const cases: readonly (readonly [string, number, Uint8Array | string])[] = [
    ['VMDK', 0, 'KDMV\x01\0\0\0'],
    ['VDI', 64, '\x7f\x10\xda\xbe'],
    ['VHDX', 0, 'vhdxfile'],
    ['VHD', 0, 'conectix'],
  ];
  for (const [name, at, bytes] of cases) {
    test(name, async (t) => {
      const warning = await warningOf(file(imageOf(t, withBytes(at, bytes))));
      assert.match(warning ?? '', new RegExp(`begins like a ${name} image, .*: convert it with `));
      assert.equal(await warningOf(file(imageOf(t, withBytes(at + 512, bytes)))), undefined);
    });
  }
});

test('below filters it is what the guest sees, below formats it is not', async (t) => {
  const path = await qcow2Image(t);
  for (const written of [
    `readonly(file(${path}))`,
    `stats(throttle(delay(error(file(${path}, cache=writethrough), rate=0), read=1), iops-total=9))`,
    `log(cache(file(${path})), file=${path}.trace)`,
    `copy-on-write(file(${path}))`,
    `snapshot(file(${path}), file=${path}.snapshots)`,
    `checksum(file(${path}), file=${path}.sums)`,
  ]) {
    assert.match((await warningOf(parseDisk(written))) ?? '', /begins like a qcow2/, written);
  }
  for (const written of [
    `qcow2(file(${path}))`,
    `stats(qcow2(error(file(${path}), rate=0)))`,
    `concat(memory(512), file(${path}))`,
    'memory(1M)',
    'null(1M)',
  ]) {
    assert.equal(await warningOf(parseDisk(written)), undefined, written);
  }
});

test('an image in an image is one of the guest, and none below', async (t) => {
  const path = await qcow2Image(t);
  const inner = await qcow2Image(t);
  await createQcow2(`${path}.over`, {
    sizeBytes: 2 ** 20,
    backing: { path: inner, format: 'raw' },
  });
  // The guest sees the inner image by way of the outer one: it may be the one who has made it.
  assert.equal(await warningOf(qcow2(file(`${path}.over`))), undefined);
});

suite('no false alarm', () => {
  const mbr = Buffer.alloc(DISK_BYTES);
  mbr.writeUInt16LE(0xaa55, 510);
  const cases: Readonly<Record<string, Uint8Array>> = {
    zeros: Buffer.alloc(DISK_BYTES),
    'a boot sector': mbr,
    'other bytes': patternBytes(DISK_BYTES, 5),
    'a file of four bytes': Buffer.from('QFI\xfb', 'latin1'),
    'a text': Buffer.from('QFI is not the start of an image\n'.repeat(40)),
    'the bytes of qcow2 without a version of it': withBytes(0, 'QFI\xfb\0\0\0\x09'),
    'the bytes of LUKS without a version of it': withBytes(0, 'LUKS\xba\xbe\0\x09'),
  };
  for (const [name, content] of Object.entries(cases)) {
    test(name, async (t) => assert.equal(await warningOf(file(imageOf(t, content))), undefined));
  }
});

test('direct I/O reads it, too', async (t) => {
  const path = await qcow2Image(t);
  const disk = await openDisk(file(path, { cache: 'none' }));
  assert.match(rawImageWarning(disk) ?? '', /begins like a qcow2/);
  await disk.close();
});
