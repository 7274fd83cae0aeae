/** What the sandbox makes of a kernel that lacks parts of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { acceptGaps, refusalReason, type SandboxPart } from '../../../src/cli/sandbox.ts';
import { ExportError } from '../../../src/exports/index.ts';
import { Errno, SystemError } from '../../../src/sys/index.ts';

const NO_GAPS = new Map<SandboxPart, string>();
const NO_LANDLOCK = new Map<SandboxPart, string>([['Landlock', 'the kernel does not have it']]);

test('"on" needs all parts, and names the first one missing', () => {
  acceptGaps('on', NO_GAPS);
  assert.throws(
    () => acceptGaps('on', NO_LANDLOCK),
    (error) =>
      error instanceof ExportError &&
      error.code === 'SANDBOX_REFUSED' &&
      error.message === '--sandbox=on: Landlock is not to be had: the kernel does not have it',
  );
});

test('"auto" and "off" need none', () => {
  for (const mode of ['auto', 'off'] as const) acceptGaps(mode, NO_LANDLOCK);
});

test('a refusal has a reason that people understand; other errors stay what they are', () => {
  const reasons: readonly (readonly [errno: number, reason: RegExp])[] = [
    [Errno.ENOSYS, /^the kernel does not have it$/],
    [Errno.EINVAL, /^the kernel does not have it$/],
    [Errno.EOPNOTSUPP, /^it was switched off at boot/],
    [Errno.EPERM, /^forbidden/],
    [Errno.E2BIG, /^landlock_restrict_self: E2BIG/],
  ];
  for (const [errno, reason] of reasons) {
    assert.match(refusalReason(new SystemError('landlock_restrict_self', errno)), reason);
  }
  const fault = new TypeError('a fault of ours');
  assert.throws(() => refusalReason(fault), fault);
});
