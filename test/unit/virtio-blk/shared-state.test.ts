/** Memory that several threads look at: device state and counters. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counter } from '../../../src/virtio-blk/counters.ts';
import {
  BlockRequests,
  COUNTER_NAMES,
  counterRow,
  createCounters,
  DeviceState,
  readCounters,
} from '../../../src/virtio-blk/index.ts';

test('what one thread sets of a device, another sees through its own view', () => {
  const control = new DeviceState();
  const queue = new DeviceState(structuredClone(control.buffer));
  assert.equal(queue.capacitySectors, 0);
  assert.equal(queue.writeback, false);
  control.capacitySectors = 2 ** 44 + 1;
  control.writeback = true;
  assert.equal(queue.capacitySectors, 2 ** 44 + 1);
  assert.equal(queue.writeback, true);
  control.writeback = false;
  assert.equal(queue.writeback, false);
  assert.equal(queue.capacitySectors, 2 ** 44 + 1);
});

test('each queue has a row of its own, and reading sums them up', () => {
  const counters = createCounters(3);
  const rows = [0, 1, 2].map((queue) => counterRow(counters, queue));
  for (const [queue, row] of rows.entries()) {
    assert.equal(row.length, COUNTER_NAMES.length);
    for (const [column, name] of COUNTER_NAMES.entries()) {
      assert.equal(Counter[name], column);
      row[column] = (column + 1) * 10 ** queue;
    }
  }
  const sums = readCounters(counters);
  assert.deepEqual(Object.keys(sums), [...COUNTER_NAMES]);
  assert.deepEqual(
    Object.values(sums),
    COUNTER_NAMES.map((_, column) => (column + 1) * 111),
  );
});

test('counters go on being exact above 32 bits', () => {
  const counters = createCounters(1);
  const row = counterRow(counters, 0);
  row[Counter.readBytes] = 2 ** 50;
  row[Counter.readBytes] += 1;
  assert.equal(readCounters(counters).readBytes, 2 ** 50 + 1);
});

test('slots are given out once each, the warmest first', () => {
  using requests = new BlockRequests(4);
  assert.deepEqual(
    [0, 1, 2, 3].map(() => requests.take()),
    [0, 1, 2, 3],
  );
  assert.equal(requests.freeCount, 0);
  requests.release(2);
  requests.release(0);
  assert.equal(requests.freeCount, 2);
  assert.deepEqual([requests.take(), requests.take()], [0, 2]);
});
