/** Positions, event suppression and bases of packed rings. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  eventAt,
  firstBase,
  isEventWanted,
  isValidBase,
  isValidRingSize,
  packedBase,
  ringBytes,
  ringFormat,
} from '../../../src/virtqueue/index.ts';
import { positionsOfBase } from '../../../src/virtqueue/packed-layout.ts';
import { propertyOptions } from '../../support/property-options.ts';

test('a packed ring has any size up to 32768, and two structures of 4 bytes beside it', () => {
  const sizes = [-1, 0, 1, 3, 32768, 32769, 1.5, 2 ** 32];
  const valid = sizes.filter((size) => isValidRingSize(size, 'packed'));
  assert.deepEqual(valid, [1, 3, 32768]);
  assert.deepEqual(ringBytes(3, 'packed'), { descriptors: 48, available: 4, used: 4 });
});

test('bit 34 makes rings packed', () => {
  assert.equal(ringFormat(1n << 34n), 'packed');
  assert.equal(ringFormat(~(1n << 34n)), 'split');
});

test('a ring begins with both wrap counters at 1', () => {
  assert.equal(firstBase('packed'), 0x8000_8000);
  assert.equal(firstBase('split'), 0);
});

const ring = fc
  .integer({ min: 1, max: 32768 })
  .chain((size) =>
    fc.record({ size: fc.constant(size), from: fc.nat(2 * size - 1), moved: fc.nat(size) }),
  );

test('a base says where both sides stand, and comes back as it was', () => {
  fc.assert(
    fc.property(ring, ({ size, from, moved }) => {
      const available = (from + moved) % (2 * size);
      const base = packedBase(available, from, size);
      assert.ok(base >= 0 && base <= 0xffff_ffff);
      assert.ok(isValidBase(base, size, 'packed'));
      const used = moved === size ? available : from;
      assert.deepEqual(positionsOfBase(base, size), { available, used });
    }),
    propertyOptions(500),
  );
});

test('a base beyond the ring, or with more under way than the ring has, is invalid', () => {
  for (const base of [0x8000_8004, 0x8004_8000, 0x7fff_8000, 0xffff_ffff]) {
    assert.equal(isValidBase(base, 4, 'packed'), false, base.toString(16));
  }
  assert.equal(isValidBase(packedBase(0, 1, 4), 4, 'packed'), false, 'used before available');
  assert.equal(isValidBase(packedBase(5, 0, 4), 4, 'packed'), false);
  assert.equal(isValidBase(0x1_0000, 4, 'split'), false);
});

test('an event is wanted when the place asked for is passed, over the end of both laps', () => {
  const tries = ring.chain((given) =>
    fc.record({ given: fc.constant(given), wanted: fc.nat(2 * given.size - 1) }),
  );
  fc.assert(
    fc.property(tries, ({ given: { size, from, moved }, wanted }) => {
      const to = (from + moved) % (2 * size);
      for (const place of [wanted, from, (from + moved) % (2 * size)]) {
        const isPassed = (place - from + 2 * size) % (2 * size) < moved;
        assert.equal(isEventWanted(eventAt(place, size), true, from, to, size), isPassed);
      }
    }),
    propertyOptions(500),
  );
});
