/** The device's side against what a driver may put into memory, legal or not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SplitRing } from '../../../src/virtqueue/index.ts';
import { createRingMemory, RingPair } from '../../support/ring-pair.ts';

const IDX = 1;

test('an available index more than the ring ahead is impossible', () => {
  const memory = createRingMemory(8);
  const available = new Uint16Array(memory.available);
  const ring = new SplitRing(memory, false, 65530);
  const counts = [65530, 65531, 2, 3, 65529, 65530 + 0x8000].map((index) => {
    available[IDX] = index;
    return ring.availableCount();
  });
  assert.deepEqual(counts, [0, 1, 8, -1, -1, -1]);
});

test('a ring goes on where it was stopped', () => {
  const memory = createRingMemory(4);
  const available = new Uint16Array(memory.available);
  const used16 = new Uint16Array(memory.used);
  const used32 = new Uint32Array(memory.used, 0, 1 + 8);
  used16[IDX] = 65535;
  available.set([0, 2, 10, 11, 12, 13]);
  const ring = new SplitRing(memory, false, 65535);
  assert.equal(ring.availableCount(), 3);
  assert.deepEqual([ring.takeHead(), ring.takeHead(), ring.takeHead()], [13, 10, 11]);
  assert.equal(ring.base, 2);
  ring.pushUsed(13, 7);
  ring.pushUsed(10, 8);
  assert.equal(used16[IDX], 65535, 'nothing is shown before publish');
  ring.publish();
  assert.equal(used16[IDX], 1);
  assert.deepEqual([...used32.subarray(7, 9)], [13, 7]);
  assert.deepEqual([...used32.subarray(1, 3)], [10, 8]);
});

test('a head is handed over as the driver wrote it, and read only once', () => {
  const memory = createRingMemory(2);
  const available = new Uint16Array(memory.available);
  available.set([0, 2, 0xffff, 0]);
  const ring = new SplitRing(memory, false, 0);
  assert.equal(ring.takeHead(), 0xffff);
  available[2] = 1;
  assert.equal(ring.availableCount(), 1);
  assert.equal(ring.takeHead(), 0);
});

test('without EVENT_IDX, wishes are flags that say exactly yes or no', () => {
  const { memory, device, driver } = new RingPair({ size: 4, eventIdx: false, indirect: false });
  const usedFlags = new Uint16Array(memory.used, 0, 1);
  const availableFlags = new Uint16Array(memory.available, 0, 1);
  device.suppressKicks();
  assert.equal(usedFlags[0], 1);
  assert.equal(device.requestKicks(), true);
  assert.equal(usedFlags[0], 0);
  driver.suppressCalls();
  assert.equal(availableFlags[0], 1);
  assert.equal(driver.requestCalls(), true);
  assert.equal(availableFlags[0], 0);
});

test('with EVENT_IDX, flags are left alone and the event fields lie behind the rings', () => {
  const size = 4;
  const pair = new RingPair({ size, eventIdx: true, indirect: false });
  pair.cycle(3);
  const { memory, device, driver } = pair;
  device.suppressKicks();
  driver.suppressCalls();
  device.requestKicks();
  driver.requestCalls(2);
  const available = new DataView(memory.available);
  const used = new DataView(memory.used);
  assert.equal(used.getUint16(4 + size * 8, true), 3, 'avail_event');
  assert.equal(available.getUint16(4 + size * 2, true), 3 + 2 - 1, 'used_event');
  assert.equal(used.getUint16(0, true), 0);
  assert.equal(available.getUint16(0, true), 0);
});

test('an entry that came before the wish for kicks is not slept over', () => {
  for (const eventIdx of [false, true]) {
    const pair = new RingPair({ size: 4, eventIdx, indirect: false });
    const { driver, device } = pair;
    device.suppressKicks();
    driver.begin(1);
    driver.add(0, 0, 1, false);
    driver.commit();
    driver.publish();
    assert.equal(device.requestKicks(), false);
    pair.take();
    assert.equal(device.requestKicks(), true);
  }
});
