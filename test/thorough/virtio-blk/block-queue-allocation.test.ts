/**
 * The data path leaves no garbage: requests are served by the hundred thousand, and the heap does
 * not grow. A process of its own, whose collector rests meanwhile, counts.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AllocationResults } from '../../support/allocation-probe.ts';
import { HEAP_OPTIONS } from '../../support/heap-growth.ts';

const PROGRAM = fileURLToPath(new URL('../../support/allocation-probe.js', import.meta.url));
/**
 * Batches and system calls are timed, which boxes a number of 16 bytes: far less than one for each
 * request, even where a busy machine makes the batches short.
 */
const NOTHING = 4;
/**
 * An address has more bits than a small integer: to be passed to a system call it is boxed. That is
 * one number of 16 bytes, whatever the size of the request.
 */
const BOXED_ADDRESS = 24;
/** Some writes are timed, which boxes numbers; on a busy machine more of them are. */
const BOXED_ADDRESS_AND_TIMES = 40;

/** A timer that is set boxes the times: once for the first of those that wait, not for each. */
const SET_TIMERS = 24;

let results: AllocationResults;

before(() => {
  const output = execFileSync(process.execPath, [...HEAP_OPTIONS, PROGRAM], { encoding: 'utf8' });
  results = JSON.parse(output);
});

test('the queue itself allocates nothing: reads, writes and flushes of a null disk', () => {
  assert.ok(results.nullDisk < NOTHING, `${results.nullDisk} bytes a request`);
});

test('a packed ring allocates nothing either', () => {
  assert.ok(results.packedRing < NOTHING, `${results.packedRing} bytes a request`);
});

test('to write down what is under way allocates nothing', () => {
  const { split, packed } = results.tracked;
  assert.ok(split < NOTHING, `${split} bytes a request, split`);
  assert.ok(packed < NOTHING, `${packed} bytes a request, packed`);
});

test('nor does it while what it writes is logged', () => {
  assert.ok(results.loggedNullDisk < NOTHING, `${results.loggedNullDisk} bytes a request`);
});

test('reads by io_uring allocate nothing', (t) => {
  if (typeof results.uringReads === 'string') t.skip(results.uringReads);
  else if (results.uringReads === true) t.skip('set TMPDIR to a folder that is not in memory');
  else assert.ok(results.uringReads < NOTHING, `${results.uringReads} bytes a request`);
});

test('reads and writes by system calls box an address and allocate nothing else', () => {
  assert.ok(results.threadReads < BOXED_ADDRESS, `${results.threadReads} bytes a read`);
  assert.ok(
    results.threadWrites < BOXED_ADDRESS_AND_TIMES,
    `${results.threadWrites} bytes a write`,
  );
});

test('filters allocate nothing for what they pass on, nor for what they hold back', () => {
  const { passing, throttled, delayed, filteredReads, filteredWrites } = results;
  assert.ok(passing < NOTHING, `${passing} bytes a request of stats(throttle(error(null)))`);
  assert.ok(throttled < NOTHING, `${throttled} bytes a request of stats(throttle(null))`);
  assert.ok(delayed < SET_TIMERS, `${delayed} bytes a request of delay(null)`);
  assert.ok(
    filteredReads < BOXED_ADDRESS,
    `${filteredReads} bytes a read of stats(throttle(file))`,
  );
  assert.ok(
    filteredWrites < BOXED_ADDRESS_AND_TIMES,
    `${filteredWrites} bytes a write of stats(throttle(file))`,
  );
});
