/** The driver's side of a packed ring, as it lies in memory, and a device that is not to be trusted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BAD_USED, NO_USED, PackedDriverRing } from '../../../src/virtqueue/index.ts';
import {
  AVAILABLE_0,
  AVAILABLE_1,
  INDIRECT,
  NEXT,
  readUsed,
  USED_0,
  USED_1,
  WRITE,
  writePacked,
} from '../../support/packed-descriptors.ts';
import { createRingMemory } from '../../support/ring-pair.ts';

function ringOf(size: number, eventIdx = false) {
  const memory = createRingMemory(size, 'packed');
  return {
    driver: new PackedDriverRing(memory, { eventIdx }),
    view: new DataView(memory.descriptors),
    driverEvent: new Int32Array(memory.available),
    deviceEvent: new Int32Array(memory.used),
  };
}

function add(driver: PackedDriverRing, pieces: number): number {
  assert.ok(driver.begin(pieces));
  for (let piece = 0; piece < pieces; piece++) {
    driver.add(piece + 1, 0, 8, piece === pieces - 1);
  }
  return driver.commit();
}

test('a chain is linked by place, and its first flags come with publish', () => {
  const { driver, view } = ringOf(3);
  const id = add(driver, 2);
  const second = add(driver, 1);
  assert.equal(readUsed(view, 0).flags, 0, 'held back');
  assert.equal(driver.publish(), true);
  assert.deepEqual(
    [0, 1, 2].map((index) => readUsed(view, index)),
    [
      { length: 8, id, flags: AVAILABLE_1 | NEXT },
      { length: 8, id, flags: AVAILABLE_1 | WRITE },
      { length: 8, id: second, flags: AVAILABLE_1 | WRITE },
    ],
  );
  assert.equal(driver.publish(), false, 'nothing new');
  // Used out of order: the second takes the first place.
  writePacked(view, 0, [{ length: 77, id: second, flags: USED_1 | WRITE }]);
  assert.equal(driver.usedCount(), 1);
  assert.equal(driver.takeUsed(), second);
  assert.equal(driver.usedLength, 77);
  assert.equal(add(driver, 1), second);
  driver.publish();
  assert.equal(readUsed(view, 0).flags, AVAILABLE_0 | WRITE, 'the next lap');
});

test('an indirect table has no links, and no IDs', () => {
  const memory = createRingMemory(4, 'packed');
  const tables = new DataView(new ArrayBuffer(4 * 3 * 16));
  const indirect = { view: tables, address: 0x1_0000_1000, entriesPerTable: 3 };
  const driver = new PackedDriverRing(memory, { eventIdx: false, indirect });
  add(driver, 1);
  const id = add(driver, 3);
  driver.publish();
  const view = new DataView(memory.descriptors);
  assert.deepEqual(readUsed(view, 1), { length: 48, id, flags: AVAILABLE_1 | INDIRECT });
  const start = id * 48;
  assert.equal(view.getBigUint64(16, true), BigInt(0x1_0000_1000 + start));
  const flags = [0, 1, 2].map((entry) => tables.getUint32(start + entry * 16 + 12, true));
  assert.deepEqual(flags, [0, 0, WRITE << 16]);
});

test('a used descriptor that names no chain under way is an error', () => {
  for (const wrong of [4, 0xffff, 1]) {
    const { driver, view } = ringOf(4);
    assert.equal(add(driver, 2), 0);
    driver.publish();
    assert.equal(driver.takeUsed(), NO_USED);
    writePacked(view, 0, [{ id: wrong, flags: USED_1 }]);
    assert.equal(driver.usedCount(), 1);
    assert.equal(driver.requestCalls(), false, 'not slept over');
    assert.equal(driver.takeUsed(), BAD_USED, `id ${wrong}`);
  }
});

test('a chain that is used twice, or though it was not given, is an error', () => {
  const { driver, view } = ringOf(4);
  const id = add(driver, 1);
  add(driver, 1);
  driver.publish();
  writePacked(view, 0, [
    { id, flags: USED_1 },
    { id, flags: USED_1 },
  ]);
  assert.equal(driver.takeUsed(), id);
  assert.equal(driver.takeUsed(), BAD_USED);
  const fresh = ringOf(4);
  writePacked(fresh.view, 0, [{ id: 0, flags: USED_1 }]);
  assert.equal(fresh.driver.usedCount(), 1);
  assert.equal(fresh.driver.takeUsed(), BAD_USED);
});

test('a length counts only with WRITE, and what is of another lap is not used', () => {
  const { driver, view } = ringOf(1);
  const id = add(driver, 1);
  driver.publish();
  writePacked(view, 0, [{ id, flags: USED_0, length: 9 }]);
  assert.equal(driver.usedCount(), 0);
  assert.equal(driver.takeUsed(), NO_USED);
  writePacked(view, 0, [{ id, flags: USED_1, length: 9 }]);
  assert.equal(driver.takeUsed(), id);
  assert.equal(driver.usedLength, 0);
});

test('a call is asked for at a place, and not waited for when the device is past it', () => {
  const { driver, view, driverEvent } = ringOf(8, true);
  const long = add(driver, 3);
  add(driver, 1);
  driver.publish();
  assert.equal(driver.requestCalls(2), true);
  assert.equal(driverEvent[0], (2 << 16) | (1 << 15) | 1);
  writePacked(view, 0, [{ id: long, flags: USED_1 }]);
  // One chain, but three descriptors: the place is behind the device, which will not call.
  assert.equal(driver.requestCalls(2), false);
  assert.equal(driver.requestCalls(100), true);
  assert.equal(driverEvent[0], (2 << 16) | (1 << 15) | 7, 'no further than the ring goes');
  driver.suppressCalls();
  assert.equal(driverEvent[0], 1 << 16);
});
