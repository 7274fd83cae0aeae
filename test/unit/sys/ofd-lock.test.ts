/** Locks of open file descriptions: they hold between two openings, in one process or in two. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Fcntl } from '../../../src/sys/constants.ts';
import { call } from '../../../src/sys/errors.ts';
import {
  type Fd,
  isByteLockedByOthers,
  lockByteShared,
  Open,
  openFile,
  unlockByte,
} from '../../../src/sys/index.ts';
import { imageFolder } from '../../support/image-folder.ts';

const BYTE = 103;

function twoOpenings(t: TestContext): [Fd, Fd] {
  const path = join(imageFolder(t), 'file');
  writeFileSync(path, '');
  const pair: [Fd, Fd] = [openFile(path, Open.RDWR), openFile(path, Open.RDWR)];
  t.after(() => {
    for (const fd of pair) fd[Symbol.dispose]();
  });
  return pair;
}

/** struct flock: an exclusive lock on one byte. */
function lockExclusively(fd: Fd, byte: number): void {
  const flock = new DataView(new ArrayBuffer(32));
  flock.setInt16(0, Fcntl.WRLCK, true);
  flock.setBigInt64(8, BigInt(byte), true);
  flock.setBigInt64(16, 1n, true);
  call('fcntl', fd.number, Fcntl.OFD_SETLK, flock);
}

test('a shared lock shows to other openings, not to the one that holds it', (t) => {
  const [first, second] = twoOpenings(t);
  assert.ok(lockByteShared(first.number, BYTE));
  assert.ok(isByteLockedByOthers(second.number, BYTE));
  assert.ok(!isByteLockedByOthers(first.number, BYTE));
  assert.ok(!isByteLockedByOthers(second.number, BYTE + 1), 'one byte only');
  assert.ok(!isByteLockedByOthers(second.number, BYTE - 1), 'one byte only');
});

test('shared locks go together, an exclusive one is in the way', (t) => {
  const [first, second] = twoOpenings(t);
  assert.ok(lockByteShared(first.number, BYTE));
  assert.ok(lockByteShared(second.number, BYTE));
  unlockByte(first.number, BYTE);
  unlockByte(second.number, BYTE);
  lockExclusively(first, BYTE);
  assert.ok(!lockByteShared(second.number, BYTE));
  assert.ok(isByteLockedByOthers(second.number, BYTE));
});

test('a lock ends with unlock, or when the last duplicate of its opening is closed', (t) => {
  const [first, second] = twoOpenings(t);
  lockByteShared(first.number, BYTE);
  unlockByte(first.number, BYTE);
  assert.ok(!isByteLockedByOthers(second.number, BYTE));
  lockByteShared(first.number, BYTE);
  first.close();
  assert.ok(!isByteLockedByOthers(second.number, BYTE));
});

test('closing another opening of the file takes no lock away', (t) => {
  // As classic POSIX locks would: the reason to use these.
  const [first, second] = twoOpenings(t);
  lockByteShared(first.number, BYTE);
  openFile(`/proc/self/fd/${first.number}`, Open.RDONLY).close();
  assert.ok(isByteLockedByOthers(second.number, BYTE));
});

test('errors that are no conflict are thrown', () => {
  assert.throws(() => lockByteShared(1_000_000, 0), { code: 'EBADF', message: /^fcntl lock:/ });
  assert.throws(() => unlockByte(1_000_000, 0), { code: 'EBADF' });
  assert.throws(() => isByteLockedByOthers(1_000_000, 0), { code: 'EBADF' });
});
