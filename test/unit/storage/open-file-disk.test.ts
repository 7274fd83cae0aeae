/** What can be wrong with a file that is to become a disk, and that it is left as it was. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFileDisk, StorageError, type StorageErrorCode } from '../../../src/storage/index.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';

type Options = Parameters<typeof openFileDisk>[0];

/** Opening fails with a code and a message, which is one line, and leaves nothing open. */
function assertRefused(options: Options, code: StorageErrorCode, message: string): void {
  const before = openDescriptors();
  assert.throws(
    () => openFileDisk(options),
    (error) => {
      assert.ok(error instanceof StorageError, String(error));
      assert.deepEqual([error.code, error.message], [code, message]);
      return true;
    },
  );
  assert.deepEqual(openDescriptors(), before);
}

test('a missing file', (t) => {
  const path = join(imageFolder(t), 'missing');
  assertRefused({ path }, 'DISK_OPEN_FAILED', `cannot open ${path}: no such file or directory`);
});

test('a link to nowhere, and a file where a folder should be', (t) => {
  const folder = imageFolder(t);
  const link = join(folder, 'link');
  symlinkSync(join(folder, 'nowhere'), link);
  const reason = 'no such file or directory';
  assertRefused({ path: link }, 'DISK_OPEN_FAILED', `cannot open ${link}: ${reason}`);
  writeFileSync(join(folder, 'file'), 'x');
  const path = join(folder, 'file', 'image');
  assertRefused({ path }, 'DISK_OPEN_FAILED', `cannot open ${path}: not a directory`);
});

test('an empty file', (t) => {
  const path = join(imageFolder(t), 'empty');
  writeFileSync(path, '');
  assertRefused({ path }, 'DISK_EMPTY', `cannot use ${path} as a disk: it is empty`);
});

test('what is neither a file nor a block device', async (t) => {
  const folder = imageFolder(t);
  const kinds = new Map([
    [join(folder, 'folder'), 'a directory'],
    [join(folder, 'fifo'), 'a pipe'],
    [join(folder, 'socket'), 'a socket'],
    ['/dev/null', 'a character device'],
  ]);
  mkdirSync(join(folder, 'folder'));
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
  for (const [path, kind] of kinds) {
    const message = `cannot use ${path} as a disk: it is ${kind}, not a file or block device`;
    assertRefused({ path }, 'DISK_NOT_A_FILE', message);
    assertRefused({ path, readOnly: true, cache: 'none' }, 'DISK_NOT_A_FILE', message);
  }
  server.close();
});

test('a file that may not be read, or not be written', (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(4096));
  chmodSync(folder, 0o755);
  // Root may do everything: be nobody for a while.
  const isRoot = process.getuid?.() === 0;
  const asNobody = (body: () => void): void => {
    if (isRoot) process.seteuid?.(65534);
    try {
      body();
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  };
  const message = `cannot open ${path}: permission denied`;
  chmodSync(path, 0o000);
  asNobody(() => assertRefused({ path, readOnly: true }, 'DISK_OPEN_FAILED', message));
  chmodSync(path, 0o444);
  asNobody(() => {
    assertRefused({ path }, 'DISK_OPEN_FAILED', message);
    openFileDisk({ path, readOnly: true }).close();
  });
});

test('a block size that is none', (t) => {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(65536));
  for (const blockBytes of [0, 1, 256, 511, 513, 1000, 131072, -512, 512.5, Number.NaN]) {
    const message = `block size ${blockBytes}: must be a power of two from 512 to 65536`;
    assertRefused({ path, blockBytes }, 'DISK_BLOCK_SIZE', message);
  }
  for (const blockBytes of [512, 4096, 65536]) {
    const disk = openFileDisk({ path, blockBytes });
    assert.equal(disk.info.logicalBlockBytes, blockBytes);
    assert.ok(disk.info.physicalBlockBytes >= blockBytes);
    disk.close();
  }
});

test('a file system without direct I/O', () => {
  // The kernel's own files are on one.
  const path = '/proc/self/environ';
  const message = `cannot open ${path} with --cache=none: its file system has no direct I/O`;
  assertRefused({ path, cache: 'none', readOnly: true }, 'DISK_OPEN_FAILED', message);
});

test('opening and closing leaves the file as it was', (t) => {
  const path = join(imageFolder(t), 'image');
  const content = Buffer.alloc(10_000, 'content');
  writeFileSync(path, content);
  utimesSync(path, 1_000_000, 1_000_000);
  const before = statSync(path);
  for (const cache of ['writeback', 'none', 'writethrough'] as const) {
    for (const readOnly of [false, true]) {
      openFileDisk({ path, cache, readOnly }).close();
      assert.throws(() => openFileDisk({ path, cache, readOnly, blockBytes: 3 }));
    }
  }
  const after = statSync(path);
  assert.deepEqual(
    [after.mtimeMs, after.ctimeMs, after.size, after.blocks],
    [before.mtimeMs, before.ctimeMs, before.size, before.blocks],
  );
  assert.ok(readFileSync(path).equals(content));
});

test('a disk says what it is, and lets go of the file when closed', (t) => {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(65536));
  const before = openDescriptors();
  const disk = openFileDisk({ path });
  assert.match(
    disk.description,
    new RegExp(`^${path}: raw file of 65536 bytes, cache=writeback, `),
  );
  assert.equal(disk.info.sizeBytes, 65536);
  assert.deepEqual([disk.info.readOnly, disk.info.writeBack], [false, true]);
  assert.deepEqual([disk.info.canDiscard, disk.info.canWriteZeroes], [true, true]);
  disk.close();
  const readOnly = openFileDisk({ path, readOnly: true, cache: 'writethrough' });
  assert.match(readOnly.description, /, read-only, /);
  assert.deepEqual([readOnly.info.readOnly, readOnly.info.writeBack], [true, false]);
  assert.deepEqual([readOnly.info.canDiscard, readOnly.info.canWriteZeroes], [false, false]);
  readOnly.close();
  assert.deepEqual(openDescriptors(), before);
});
