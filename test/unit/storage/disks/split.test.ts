/** One disk in files of a fixed size: which files it takes, makes, and refuses. */
import assert from 'node:assert/strict';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type OpenOptions, openDisk, parseDisk, split } from '../../../../src/storage/index.ts';
import { DiskSession } from '../../../support/disk-session.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { openDescriptors } from '../../../support/open-descriptors.ts';
import { patternBytes } from '../../../support/request-bytes.ts';

const KIB = 1024;

/** Opening fails with a message, leaves nothing open, and all files as they were. */
async function assertRefused(
  folder: string,
  text: string,
  code: string,
  message: string,
  options?: OpenOptions,
): Promise<void> {
  const files = (): string[] =>
    readdirSync(folder)
      .sort()
      .map((name) => `${name} ${statSync(join(folder, name)).size}`);
  const before = { descriptors: openDescriptors(), files: files() };
  const opening = Promise.resolve().then(() => openDisk(parseDisk(text), options));
  await assert.rejects(opening, { code, message });
  assert.deepEqual({ descriptors: openDescriptors(), files: files() }, before);
}

test('files are made as large as they have to be, with nothing in them', async (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'disk');
  const disk = await openDisk(split(path, { piece: 64 * KIB, size: 160 * KIB }));
  assert.equal(disk.info.sizeBytes, 160 * KIB);
  const pieces = readdirSync(folder).sort();
  assert.deepEqual(pieces, ['disk.000', 'disk.001', 'disk.002']);
  const stats = pieces.map((name) => statSync(join(folder, name)));
  assert.deepEqual(
    stats.map(({ size, blocks }) => [size / KIB, blocks]),
    [
      [64, 0],
      [64, 0],
      [32, 0],
    ],
  );
  const content = Buffer.from(patternBytes(160 * KIB));
  {
    using session = new DiskSession(disk, 'epoll');
    assert.equal(session.write(0, content), 0);
    assert.equal(session.flush(), 0);
  }
  assert.ok(Buffer.concat(pieces.map((name) => readFileSync(join(folder, name)))).equals(content));
  // And again, as they are found.
  using session = new DiskSession(await openDisk(split(path)), 'epoll');
  assert.deepEqual(session.read(0, 160 * KIB), content);
});

test('a disk grows by whole files', async (t) => {
  const path = join(imageFolder(t), 'disk');
  await (await openDisk(split(path, { piece: 64 * KIB, size: 128 * KIB }))).close();
  writeFileSync(`${path}.001`, Buffer.alloc(64 * KIB, 1));
  const disk = await openDisk(split(path, { size: 256 * KIB }));
  using session = new DiskSession(disk, 'epoll');
  assert.equal(disk.info.sizeBytes, 256 * KIB);
  const [last, fresh] = [session.read(127 * KIB, KIB), session.read(128 * KIB, KIB)];
  assert.deepEqual([last, fresh], [Buffer.alloc(KIB, 1), Buffer.alloc(KIB)]);
});

test('files that cannot be what is asked for are refused, and stay as they are', async (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'disk');
  const refused = (text: string, code: string, message: string, options?: OpenOptions) =>
    assertRefused(folder, text, code, message, options);
  const how = 'say how to make it: piece=<bytes>, size=<bytes>';
  await refused(`split(${path})`, 'DISK_OPEN_FAILED', `split: there is no ${path}.000; ${how}`);
  const missing = `split: there is no ${path}.000: size=<bytes> says how large the disk is to be`;
  await refused(`split(${path}, piece=64K)`, 'DISK_OPTION', missing);
  const many = 'split: 1073741824 bytes are 2097152 files of 512: at most 1000';
  await refused(`split(${path}, piece=512, size=1G)`, 'DISK_OPTION', many);
  const constant = `split: there is no ${path}.000, and a read-only disk makes none`;
  const plan = `split(${path}, piece=64K, size=128K)`;
  await refused(plan, 'DISK_OPEN_FAILED', constant, { readOnly: true });
  await (await openDisk(parseDisk(plan))).close();
  const less = `split: ${path}.001 is beyond the size of 65536 bytes`;
  await refused(`split(${path}, size=64K)`, 'DISK_OPTION', less);
  const other = `split: ${path}.000 has 65536 bytes: expected 32768`;
  await refused(`split(${path}, piece=32K, size=256K)`, 'DISK_OPTION', other);
  truncateSync(`${path}.001`, 1 * KIB);
  const short = `split: ${path}.001 has 1024 bytes: expected 65536`;
  await refused(`split(${path}, size=192K)`, 'DISK_OPTION', short);
  rmSync(`${path}.000`);
  const lost = `split: ${path}.000 is missing, but there is ${path}.001`;
  await refused(`split(${path})`, 'DISK_OPEN_FAILED', lost);
});

test('files that were made for a disk that cannot be opened are removed', async (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'disk');
  await (await openDisk(split(path, { piece: 64 * KIB, size: 128 * KIB }))).close();
  // The last block would be there in part.
  const text = `split(${path}, size=${64 * 5 * KIB - 512})`;
  await assert.rejects(openDisk(parseDisk(text), { blockBytes: 4096 }), { code: 'DISK_OPTION' });
  assert.ok(!existsSync(`${path}.002`), 'a file is left');
  assert.ok(existsSync(`${path}.001`));
  const nowhere = join(folder, 'no', 'disk');
  const message = `split: cannot make ${nowhere}.000: no such file or directory`;
  await assertRefused(
    folder,
    `split(${nowhere}, piece=64K, size=64K)`,
    'DISK_OPEN_FAILED',
    message,
  );
});
