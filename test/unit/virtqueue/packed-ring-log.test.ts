/** What a packed ring writes is in the log: used descriptors, and the device area. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirtyLog } from '../../../src/memory/index.ts';
import { createDeviceRing, firstBase } from '../../../src/virtqueue/index.ts';
import { RingPair } from '../../support/ring-pair.ts';

const SIZE = 300;
const RING_PAGE = 5;
const EVENT_PAGE = 9;

for (const eventIdx of [false, true]) {
  test(`writes to a packed ring are logged, EVENT_IDX ${eventIdx ? 'on' : 'off'}`, () => {
    const pair = new RingPair({ size: SIZE, eventIdx, indirect: false, format: 'packed' });
    const memory = { ...pair.memory, descriptorsGuestAddress: RING_PAGE * 4096 };
    const device = createDeviceRing('packed', memory, eventIdx, firstBase('packed'));
    const bits = new Uint8Array(2);
    const marked = (): number[] => {
      const pages = [...Array(16).keys()].filter((page) => (bits[page >> 3] >> (page & 7)) & 1);
      bits.fill(0);
      return pages;
    };
    device.setDirtyLog(new DirtyLog(bits), EVENT_PAGE * 4096);
    assert.equal(device.requestKicks(), true);
    assert.deepEqual(marked(), [EVENT_PAGE]);
    device.suppressKicks();
    assert.deepEqual(marked(), [EVENT_PAGE]);
    pair.driver.begin(1);
    pair.driver.add(0, 0, 1, true);
    pair.driver.commit();
    pair.driver.publish();
    assert.equal(device.availableCount(), 1);
    device.takeChain(pair.chain, pair.guest, false);
    assert.deepEqual(marked(), [], 'to take a chain writes nothing');
    device.pushUsed(pair.chain.token, 1);
    device.publish();
    assert.deepEqual(marked(), [RING_PAGE, RING_PAGE + 1], 'the ring takes two pages');
    device.setDirtyLog(undefined, 0);
    device.requestKicks();
    assert.deepEqual(marked(), []);
  });
}
