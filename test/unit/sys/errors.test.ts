/** Errors of system calls as people and programs get to see them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { call, checked } from '../../../src/sys/errors.ts';
import {
  Errno,
  errnoMessage,
  errnoName,
  IO_ERROR,
  Open,
  openFile,
  SystemError,
  unsupportedPlatform,
} from '../../../src/sys/index.ts';
import { imageFolder } from '../../support/image-folder.ts';

test('the message has the call, what it was about, the name of the errno and its text', (t) => {
  const path = join(imageFolder(t), 'missing');
  assert.throws(() => openFile(path, Open.RDONLY), {
    name: 'SystemError',
    message: `open ${path}: ENOENT: no such file or directory`,
    syscall: 'open',
    errno: 2,
    code: 'ENOENT',
  });
  assert.equal(new SystemError('mmap', 28).message, 'mmap: ENOSPC: no space left on device');
});

test('a number the platform does not name is given as it is', () => {
  const error = new SystemError('ioctl', 524);
  assert.equal(error.code, 'errno 524');
  assert.equal(error.message, 'ioctl: errno 524: unknown error');
});

test('names and texts of errno numbers', () => {
  assert.equal(errnoName(Errno.EIO), 'EIO');
  assert.equal(errnoMessage(Errno.EIO), 'i/o error');
  assert.equal(IO_ERROR, -5);
});

test('a failing call throws, one that succeeds gives its result', () => {
  assert.throws(() => call('fdatasync', 1_000_000), { code: 'EBADF', syscall: 'fdatasync' });
  const fd = call('eventfd', 0, 0);
  assert.ok(fd > 2);
  assert.equal(checked('close', call('close', fd)), 0);
  assert.throws(() => checked('fstat', -1, 'it'), /^SystemError: fstat it: E/);
});

test('says which machines it runs on, and which this is', () => {
  assert.equal(unsupportedPlatform('linux', 'x64'), undefined);
  assert.equal(unsupportedPlatform('linux', 'arm64'), undefined);
  for (const [platform, architecture] of [
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['linux', 'ia32'],
    ['linux', 's390x'],
  ]) {
    assert.equal(
      unsupportedPlatform(platform, architecture),
      `vhostkit runs on Linux on x86-64 and arm64 only; this is ${platform} on ${architecture}`,
    );
  }
});
