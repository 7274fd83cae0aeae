/** The driver's side: room for chains, and a device that is not to be trusted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BAD_USED,
  DescriptorFlag,
  NO_USED,
  type RingFormat,
} from '../../../src/virtqueue/index.ts';
import { INDIRECT_ENTRIES, RingPair } from '../../support/ring-pair.ts';

function add(pair: RingPair, pieces: number): number {
  assert.ok(pair.driver.begin(pieces));
  for (let piece = 0; piece < pieces; piece++) pair.driver.add(piece, 0, 8, false);
  return pair.driver.commit();
}

/** What makes a device say that it has used a head. A chain of two is what it has. */
function tokenFor(format: RingFormat, head: number): number {
  return format === 'split' ? head : head + 2 * 65536;
}

for (const format of ['split', 'packed'] as const) {
  test(`${format}: a chain that does not fit is refused, and fits when others have come back`, () => {
    const pair = new RingPair({ format, size: 4, eventIdx: false, indirect: false });
    const { driver, device } = pair;
    const head = add(pair, 3);
    assert.equal(driver.freeCount, 1);
    assert.equal(driver.begin(2), false);
    driver.publish();
    device.pushUsed(pair.take(), 5);
    device.publish();
    assert.equal(driver.takeUsed(), head);
    assert.equal(driver.usedLength, 5);
    assert.ok(driver.begin(4));
  });

  test(`${format}: a used entry that names no chain under way is an error`, () => {
    const pair = new RingPair({ format, size: 4, eventIdx: false, indirect: false });
    const { driver, device } = pair;
    const head = add(pair, 2);
    driver.publish();
    assert.equal(driver.takeUsed(), NO_USED);
    for (const wrong of [4, 0xffff, head + 1]) {
      const again = new RingPair({ format, size: 4, eventIdx: false, indirect: false });
      assert.equal(add(again, 2), head);
      again.driver.publish();
      again.device.pushUsed(tokenFor(format, wrong), 0);
      again.device.publish();
      assert.equal(again.driver.takeUsed(), BAD_USED, `head ${wrong}`);
    }
    const token = pair.take();
    device.pushUsed(token, 0);
    device.pushUsed(token, 0);
    device.publish();
    assert.equal(driver.usedCount(), 2);
    assert.equal(driver.takeUsed(), head);
    assert.equal(driver.takeUsed(), BAD_USED, 'the same chain twice');
  });

  test(`${format}: a chain takes one descriptor with an indirect table, or one for each piece`, () => {
    const pair = new RingPair({ format, size: 8, eventIdx: false, indirect: true });
    add(pair, INDIRECT_ENTRIES);
    assert.equal(pair.driver.freeCount, 7);
    add(pair, INDIRECT_ENTRIES + 1);
    assert.equal(pair.driver.freeCount, 7 - INDIRECT_ENTRIES - 1);
  });

  test(`${format}: nothing new asks for no kick`, () => {
    const pair = new RingPair({ format, size: 2, eventIdx: false, indirect: false });
    assert.equal(pair.driver.publish(), false);
    add(pair, 1);
    assert.equal(pair.driver.publish(), true);
    assert.equal(pair.driver.publish(), false);
  });
}

test('split: links that a device overwrites are not followed', () => {
  const pair = new RingPair({ size: 4, eventIdx: false, indirect: false });
  const { driver, device, memory } = pair;
  const head = add(pair, 3);
  driver.publish();
  const token = pair.take();
  const descriptors = new DataView(memory.descriptors);
  for (let index = 0; index < 4; index++) {
    descriptors.setUint16(index * 16 + 12, DescriptorFlag.NEXT, true);
    descriptors.setUint16(index * 16 + 14, head, true);
  }
  device.pushUsed(token, 0);
  device.publish();
  assert.equal(driver.takeUsed(), head);
  assert.equal(driver.freeCount, 4);
  const heads = [1, 1, 1, 1].map((pieces) => add(pair, pieces));
  assert.deepEqual([...heads].sort(), [0, 1, 2, 3]);
});
