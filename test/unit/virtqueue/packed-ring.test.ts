/** The device's side of a packed ring against what a driver may put into memory, legal or not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestMemory } from '../../../src/memory/index.ts';
import {
  ChainFault,
  DescriptorChain,
  firstBase,
  PackedRing,
  packedBase,
} from '../../../src/virtqueue/index.ts';
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
import { createRingMemory, RingPair } from '../../support/ring-pair.ts';

const NOWHERE = new GuestMemory([]);
const DISABLE = 1 << 16;
const AT_POSITION = 2 << 16;
const WRAP = 1 << 15;

/** A ring and the bytes it is in. */
function ringOf(size: number, base = firstBase('packed'), eventIdx = false) {
  const memory = createRingMemory(size, 'packed');
  const chain = new DescriptorChain();
  const ring = new PackedRing(memory, eventIdx, base);
  return {
    ring,
    chain,
    view: new DataView(memory.descriptors),
    driverEvent: new Int32Array(memory.available),
    deviceEvent: new Int32Array(memory.used),
    take: (): ChainFault => ring.takeChain(chain, NOWHERE, true),
  };
}

test('a descriptor is available in the lap that its bits are of, and in no other', () => {
  for (const [base, legal] of [
    [packedBase(0, 0, 4), AVAILABLE_1],
    [packedBase(4, 4, 4), AVAILABLE_0],
  ]) {
    for (const flags of [AVAILABLE_1, AVAILABLE_0, USED_1, USED_0]) {
      const { ring, view } = ringOf(4, base);
      writePacked(view, 0, [{ length: 1, flags }]);
      assert.equal(ring.availableCount(), flags === legal ? 1 : 0, `flags ${flags}`);
    }
  }
});

test('a ring goes on where it was stopped, over the end of the ring', () => {
  const { ring, chain, view, take } = ringOf(3, packedBase(2, 2, 3));
  writePacked(view, 2, [{ address: 7, length: 1, id: 9, flags: AVAILABLE_1 | NEXT }]);
  writePacked(view, 0, [{ address: 8, length: 2, id: 1, flags: AVAILABLE_0 | WRITE }]);
  assert.equal(ring.availableCount(), 1);
  assert.equal(take(), ChainFault.OK);
  assert.deepEqual([chain.bufferId, chain.ringDescriptors, chain.readable], [1, 2, 1]);
  assert.deepEqual([...chain.addressLow.subarray(0, 2)], [7, 8]);
  assert.equal(ring.base, packedBase(4, 2, 3), 'available position 1 of the second lap');
  ring.pushUsed(chain.token, 5);
  assert.equal(view.getUint16(2 * 16 + 14, true), AVAILABLE_1 | NEXT, 'nothing before publish');
  ring.publish();
  assert.deepEqual(readUsed(view, 2), { length: 5, id: 1, flags: USED_1 | WRITE });
  assert.equal(ring.base, packedBase(4, 4, 3));
  assert.equal(ring.base >>> 0, ring.base, 'an unsigned number');
});

test('a batch is shown by the flags of its first, written last', () => {
  const { ring, chain, view, take } = ringOf(4);
  writePacked(
    view,
    0,
    [2, 1, 0].map((id) => ({ length: 1, id, flags: AVAILABLE_1 })),
  );
  assert.equal(ring.availableCount(), 3);
  const tokens = [0, 1, 2].map(() => {
    assert.equal(take(), ChainFault.OK);
    return chain.token;
  });
  for (const token of tokens.toReversed()) ring.pushUsed(token, 0);
  assert.equal(ring.unpublished, 3);
  assert.equal(readUsed(view, 0).flags, AVAILABLE_1, 'the first is held back');
  assert.equal(ring.publish(), true);
  assert.equal(ring.publish(), false, 'nothing new calls for no call');
  assert.deepEqual(
    [0, 1, 2].map((index) => readUsed(view, index)),
    [0, 1, 2].map((id) => ({ id, length: 0, flags: USED_1 })),
  );
});

test('chains are seen one behind the other, and no further than what the device has already', () => {
  const { ring, chain, view, take } = ringOf(4);
  writePacked(view, 0, [
    { length: 1, flags: AVAILABLE_1 | NEXT },
    { length: 1, flags: AVAILABLE_1 },
    { length: 1, id: 3, flags: AVAILABLE_1 },
    { length: 1, id: 2, flags: AVAILABLE_1 },
  ]);
  assert.equal(ring.availableCount(), 3);
  for (let taken = 0; taken < 3; taken++) assert.equal(take(), ChainFault.OK);
  // The driver gives the same descriptors again, which are not its own.
  for (let index = 0; index < 4; index++) {
    view.setUint16(index * 16 + 14, AVAILABLE_0, true);
  }
  assert.equal(ring.availableCount(), 0);
  ring.pushUsed(chain.token, 0);
  assert.equal(ring.availableCount(), 1, 'one for each that has been used');
});

test('a chain that is longer than the ring has room for is too long', () => {
  for (const size of [1, 2, 5, 2000]) {
    const { ring, view, take } = ringOf(size);
    const endless = Array.from({ length: size }, () => ({ flags: AVAILABLE_1 | NEXT }));
    writePacked(view, 0, endless);
    assert.equal(ring.availableCount(), 1);
    assert.equal(take(), ChainFault.LENGTH, `ring of ${size}`);
    assert.equal(ring.base, firstBase('packed'), 'it is not taken');
  }
  const { ring, view, take } = ringOf(4);
  writePacked(view, 0, [{ flags: AVAILABLE_1 }]);
  assert.equal(ring.availableCount(), 1);
  assert.equal(take(), ChainFault.OK);
  writePacked(
    view,
    1,
    [1, 2, 3].map(() => ({ flags: AVAILABLE_1 | NEXT })),
  );
  assert.equal(ring.availableCount(), 1);
  assert.equal(take(), ChainFault.LENGTH, 'it would end in a chain that is under way');
});

test('a buffer ID outside the ring is an index fault, but only that of the last counts', () => {
  const { ring, chain, view, take } = ringOf(4);
  writePacked(view, 0, [
    { id: 0xffff, flags: AVAILABLE_1 | NEXT },
    { id: 3, flags: AVAILABLE_1 },
    { id: 4, flags: AVAILABLE_1 },
  ]);
  assert.equal(ring.availableCount(), 2);
  assert.equal(take(), ChainFault.OK);
  assert.equal(chain.bufferId, 3);
  assert.equal(take(), ChainFault.INDEX);
});

test('an indirect descriptor is alone', () => {
  for (const flags of [INDIRECT | NEXT, NEXT]) {
    const { ring, view, take } = ringOf(4);
    writePacked(view, 0, [
      { length: 16, flags: AVAILABLE_1 | flags },
      { length: 16, flags: AVAILABLE_1 | INDIRECT },
    ]);
    assert.equal(ring.availableCount(), 1);
    assert.equal(take(), ChainFault.INDIRECT);
  }
});

test('flags that change after they were looked at are followed as they are then', () => {
  const { ring, chain, view, take } = ringOf(4);
  const one = { length: 1, flags: AVAILABLE_1 };
  writePacked(view, 0, [one, one, one, one]);
  assert.equal(ring.availableCount(), 4);
  view.setUint16(14, AVAILABLE_1 | NEXT, true);
  assert.equal(take(), ChainFault.OK);
  assert.equal(chain.ringDescriptors, 2);
  // It had been told of 4 chains: whatever it takes now lies within the ring.
  view.setUint16(2 * 16 + 14, AVAILABLE_1 | NEXT, true);
  assert.equal(take(), ChainFault.OK);
  assert.equal(ring.availableCount(), 0);
  view.setUint16(0 * 16 + 14, AVAILABLE_0, true);
  assert.equal(ring.availableCount(), 0, 'the device has all descriptors');
  ring.pushUsed(chain.token, 1);
  ring.publish();
  assert.equal(ring.base, packedBase(4, 2, 4));
});

test('wishes are flags, with a place if EVENT_IDX was negotiated', () => {
  for (const eventIdx of [false, true]) {
    const { ring, deviceEvent } = ringOf(4, packedBase(3, 3, 4), eventIdx);
    ring.suppressKicks();
    assert.equal(deviceEvent[0], DISABLE);
    assert.equal(ring.requestKicks(), true);
    assert.equal(deviceEvent[0], eventIdx ? AT_POSITION | WRAP | 3 : 0);
  }
});

test('a wish for calls that makes no sense is a wish for all of them', () => {
  for (const [event, eventIdx] of [
    [AT_POSITION | 1, false],
    [3 << 16, true],
    [-1, true],
  ] as const) {
    const { ring, chain, view, driverEvent, take } = ringOf(4, undefined, eventIdx);
    writePacked(view, 0, [{ flags: AVAILABLE_1 }]);
    driverEvent[0] = event;
    assert.equal(ring.availableCount(), 1);
    take();
    ring.pushUsed(chain.token, 0);
    assert.equal(ring.wouldCall, true);
    assert.equal(ring.publish(), true);
  }
});

test('a chain that came before the wish for kicks is not slept over', () => {
  for (const eventIdx of [false, true]) {
    const pair = new RingPair({ format: 'packed', size: 4, eventIdx, indirect: false });
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

test('a base without used position means that nothing is under way', () => {
  const { ring } = ringOf(4, 0x8000);
  assert.equal(ring.base, firstBase('packed'));
});
