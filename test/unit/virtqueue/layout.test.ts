import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  isValidRingSize,
  MAX_RING_SIZE,
  needsEvent,
  ringBytes,
} from '../../../src/virtqueue/index.ts';
import { propertyOptions } from '../../support/property-options.ts';

test('a ring size is a power of two from 1 to 32768', () => {
  const valid: number[] = [];
  for (let size = -4; size <= 65536; size++) if (isValidRingSize(size)) valid.push(size);
  assert.deepEqual(
    valid,
    Array.from({ length: 16 }, (_, exponent) => 2 ** exponent),
  );
  assert.equal(isValidRingSize(2 ** 32), false);
  assert.equal(MAX_RING_SIZE, 32768);
});

test('the three parts are as long as the specification says, event fields included', () => {
  assert.deepEqual(ringBytes(1), { descriptors: 16, available: 8, used: 14 });
  assert.deepEqual(ringBytes(256), { descriptors: 4096, available: 518, used: 2054 });
  assert.deepEqual(ringBytes(32768), { descriptors: 524288, available: 65542, used: 262150 });
});

test('an event is needed when the index passes the one asked for, wrapping included', () => {
  const index = fc.integer({ min: 0, max: 65535 });
  fc.assert(
    fc.property(index, index, fc.integer({ min: 0, max: 32768 }), (near, before, moved) => {
      for (const event of [
        near,
        before,
        (before + moved - 1) & 0xffff,
        (before + moved) & 0xffff,
      ]) {
        let isPassed = false;
        for (let step = 0; step < moved; step++) {
          if (((before + step) & 0xffff) === event) isPassed = true;
        }
        assert.equal(needsEvent(event, (before + moved) & 0xffff, before), isPassed);
      }
    }),
    propertyOptions(300),
  );
});
