/** Rings can do what vhostkit does, and nothing else: seccomp filters do not see their requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno, IoUring, SystemError } from '../../../src/sys/index.ts';
import { Op, Register } from '../../../src/sys/io-uring/constants.ts';
import { missingEngine } from '../../support/reactors.ts';

const skip = missingEngine('io_uring') ?? false;

/** Operations of linux/io_uring.h that a ring of ours must not do. */
const FOREIGN: Readonly<Record<string, number>> = {
  SENDMSG: 9,
  ACCEPT: 13,
  CONNECT: 16,
  OPENAT: 18,
  CLOSE: 19,
  STATX: 21,
  OPENAT2: 28,
  EPOLL_CTL: 29,
  SPLICE: 30,
  RENAMEAT: 35,
  UNLINKAT: 36,
  MKDIRAT: 37,
  SOCKET: 45,
  URING_CMD: 46,
};
/** IOSQE_IO_DRAIN, IOSQE_ASYNC. */
const FOREIGN_FLAGS = [1 << 1, 1 << 4];

function resultOf(ring: IoUring, operation: number, flags: number): number {
  ring.push(operation, flags, -1, 0, 0, 0, 0, 0, 0, 0, 0);
  ring.submitAndWait(Number.POSITIVE_INFINITY);
  let found = Number.NaN;
  ring.reap({
    onCompletion: (_low, _high, result) => {
      found = result;
    },
  });
  return found;
}

for (const deferTaskRun of [false, true]) {
  const mode = deferTaskRun ? ' (deferred)' : '';

  test(`requests that are not ours are refused with EACCES${mode}`, { skip }, () => {
    using ring = new IoUring({ entries: 4, deferTaskRun });
    for (const [name, operation] of Object.entries(FOREIGN)) {
      assert.equal(resultOf(ring, operation, 0), -Errno.EACCES, name);
    }
    for (const flags of FOREIGN_FLAGS) assert.equal(resultOf(ring, Op.NOP, flags), -Errno.EACCES);
    assert.equal(resultOf(ring, Op.NOP, 0), 0);
  });
}

test('a ring cannot be registered with for other purposes, or enabled again', { skip }, () => {
  using ring = new IoUring({ entries: 4 });
  const registerBuffers = 0;
  for (const operation of [registerBuffers, Register.PROBE, Register.RESTRICTIONS]) {
    assert.throws(
      () => ring.register(operation, 0, 0),
      (error) => error instanceof SystemError && /^E(ACCES|BADFD|INVAL|BUSY)/.test(error.code),
    );
  }
});
