/** Requests whose clusters are known are passed on: on the spot, and without garbage. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { before, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HEAP_OPTIONS } from '../../../support/heap-growth.ts';
import type { Qcow2Allocations } from '../../../support/qcow2-allocation-probe.ts';

const PROGRAM = fileURLToPath(
  new URL('../../../support/qcow2-allocation-probe.js', import.meta.url),
);
/** The file disk boxes an address for a system call, see `block-queue-allocation.test`. */
const BOXED_ADDRESS = 24;
/** Zeroing memory takes a call for each piece of it. */
const ZEROING = 120;

const skip = existsSync('/dev/shm') ? false : '/dev/shm is missing: mount a tmpfs there';
let results: Qcow2Allocations;

suite('the data path of a qcow2 image', { skip }, () => {
  before(() => {
    const output = execFileSync(process.execPath, [...HEAP_OPTIONS, PROGRAM], { encoding: 'utf8' });
    results = JSON.parse(output);
  });

  test('requests are done on the spot, without promises', () => {
    assert.equal(results.late, 0);
  });

  test('reads and writes allocate no more than those of the file below', () => {
    assert.ok(results.reads < BOXED_ADDRESS, `${results.reads} bytes a read`);
    assert.ok(results.writes < BOXED_ADDRESS, `${results.writes} bytes a write`);
  });

  test('nor do those that are split in two', () => {
    assert.ok(results.splitReads < 2 * BOXED_ADDRESS, `${results.splitReads} bytes a read`);
    assert.ok(results.splitWrites < 2 * BOXED_ADDRESS, `${results.splitWrites} bytes a write`);
  });

  test('reads where nothing is', () => {
    assert.ok(results.zeros < ZEROING, `${results.zeros} bytes a read`);
  });
});
