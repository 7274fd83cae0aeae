/** Ownership of descriptors. */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { closeAll, createEventFd, Fd, signalEvent } from '../../../src/sys/index.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';

test('a second close throws and closes nothing', () => {
  const before = openDescriptors();
  const fd = new Fd(openSync('/dev/null', 'r'), '/dev/null');
  const number = fd.number;
  fd.close();
  // The number is free: it goes to somebody else, whom a second close would hit.
  const innocent = openSync('/dev/zero', 'r');
  assert.equal(innocent, number);
  assert.throws(() => fd.close(), /closed file descriptor \(\/dev\/null\)/);
  assert.equal(openDescriptors().length, before.length + 1);
  closeSync(innocent);
});

test('a closed descriptor has no number', () => {
  const fd = createEventFd();
  assert.ok(fd.isOpen);
  fd.close();
  assert.ok(!fd.isOpen);
  assert.throws(() => fd.number, /use of a closed file descriptor \(eventfd\)/);
});

test('release gives the number away, still open', () => {
  const fd = createEventFd();
  const number = fd.release();
  assert.throws(() => fd.close(), /closed/);
  assert.equal(signalEvent(number), 0);
  closeSync(number);
});

test('closing tells of an error of the kernel, and the number is gone all the same', () => {
  const number = openSync('/dev/null', 'r');
  const fd = new Fd(number, 'borrowed');
  closeSync(number);
  assert.throws(() => fd.close(), { code: 'EBADF', message: /^close borrowed: EBADF: / });
  assert.ok(!fd.isOpen);
});

test('using and closeAll close what is open and pass over the rest', () => {
  const before = openDescriptors();
  {
    using closedEarly = createEventFd();
    using leftOpen = createEventFd();
    closedEarly.close();
    assert.ok(leftOpen.isOpen);
  }
  const list = [createEventFd(), createEventFd(), createEventFd()];
  list[1].close();
  closeAll(list);
  closeAll(list);
  assert.deepEqual(openDescriptors(), before);
});

test('refuses what is no descriptor', () => {
  for (const number of [-1, 1.5, Number.NaN]) {
    assert.throws(() => new Fd(number, 'nonsense'), /not a file descriptor/);
  }
});
