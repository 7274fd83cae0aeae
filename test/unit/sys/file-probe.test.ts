/** What can be found out about a file before it is used. */
import assert from 'node:assert/strict';
import { existsSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  blockDeviceGeometry,
  createEventFd,
  createMemfd,
  directIoAlignment,
  discardRange,
  Errno,
  isMemoryBacked,
  Open,
  openFile,
} from '../../../src/sys/index.ts';
import { imageFolder } from '../../support/image-folder.ts';

const SHARED_MEMORY = '/dev/shm';
const TMPFS = 0x01021994;

test('a memory file is backed by memory, and so is one on tmpfs', (t) => {
  using memory = createMemfd('probe', 4096);
  assert.ok(isMemoryBacked(memory.number));
  if (!existsSync(SHARED_MEMORY)) return;
  const path = join(imageFolder(t, SHARED_MEMORY), 'file');
  writeFileSync(path, 'x');
  using file = openFile(path, Open.RDONLY);
  assert.ok(isMemoryBacked(file.number));
});

test('a file in the temporary folder is judged by its file system', (t) => {
  const folder = imageFolder(t);
  writeFileSync(join(folder, 'file'), 'x');
  using file = openFile(join(folder, 'file'), Open.RDONLY);
  assert.equal(isMemoryBacked(file.number), statfsSync(folder).type === TMPFS);
});

test('alignments of direct I/O are powers of two, or not known', (t) => {
  const folder = imageFolder(t);
  writeFileSync(join(folder, 'file'), 'x');
  using file = openFile(join(folder, 'file'), Open.RDONLY);
  const alignment = directIoAlignment(file.number);
  for (const bytes of [alignment?.memoryBytes ?? 1, alignment?.offsetBytes ?? 1]) {
    assert.equal(bytes & (bytes - 1), 0);
    assert.ok(bytes > 0 && bytes <= 65536);
  }
  using event = createEventFd();
  assert.equal(directIoAlignment(event.number), undefined);
  assert.equal(directIoAlignment(1_000_000), undefined);
});

test('a file is no block device', (t) => {
  const path = join(imageFolder(t), 'file');
  writeFileSync(path, 'x');
  using file = openFile(path, Open.RDWR);
  assert.throws(() => blockDeviceGeometry(file.number), { code: 'ENOTTY', syscall: 'ioctl' });
  assert.equal(discardRange(file.number, 0, 512), -Errno.ENOTTY);
  assert.throws(() => isMemoryBacked(1_000_000), { code: 'EBADF', syscall: 'fstatfs' });
});
