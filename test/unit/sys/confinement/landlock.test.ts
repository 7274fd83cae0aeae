/** What a ruleset handles, by the kernel's ABI: all of it, and nothing that it does not know. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { landlockHasThreadSync, landlockRights } from '../../../../src/sys/confinement/landlock.ts';
import {
  allowBeneath,
  createLandlockRuleset,
  LandlockAccess,
  landlockAbi,
  SystemError,
} from '../../../../src/sys/index.ts';
import { missingLandlock } from '../../../support/landlock.ts';

test('each ABI has the rights of linux/landlock.h', () => {
  const rights = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((abi) => {
    const { files, network, scopes } = landlockRights(abi);
    return [files, network, scopes];
  });
  assert.deepEqual(rights, [
    [0x1fff, 0, 0],
    [0x3fff, 0, 0],
    [0x7fff, 0, 0],
    [0x7fff, 3, 0],
    [0xffff, 3, 0],
    [0xffff, 3, 3],
    [0xffff, 3, 3],
    [0xffff, 3, 3],
    [0x1ffff, 3, 3],
    [0x1ffff, 3, 3],
  ]);
  assert.deepEqual([7, 8].map(landlockHasThreadSync), [false, true]);
});

test('the kernel takes a ruleset of every ABI up to its own', { skip: missingLandlock() }, () => {
  for (let abi = 1; abi <= landlockAbi(); abi++) {
    using ruleset = createLandlockRuleset(abi);
    allowBeneath(ruleset, tmpdir(), LandlockAccess.REMOVE_FILE);
    const missing = '/nonexistent/folder';
    assert.throws(
      () => allowBeneath(ruleset, missing, LandlockAccess.REMOVE_FILE),
      (error) => error instanceof SystemError && error.code === 'ENOENT',
    );
  }
});
