/** Reference counts of all widths, next to an array of numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readRefcount, writeRefcount } from '../../../../src/storage/qcow2/refcount-entries.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const BLOCK_BYTES = 64;

for (let order = 0; order <= 6; order++) {
  test(`counts of ${2 ** order} bits`, () => {
    const entries = (BLOCK_BYTES * 8) / 2 ** order;
    const most = Math.min(2 ** (2 ** order), 2 ** 53) - 1;
    const change = fc.record({
      index: fc.nat(entries - 1),
      count: fc.maxSafeNat().map((n) => n % (most + 1)),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 100 }), (changes) => {
        const block = Buffer.alloc(BLOCK_BYTES);
        const model: number[] = new Array(entries).fill(0);
        for (const { index, count } of changes) {
          writeRefcount(block, index, order, count);
          model[index] = count;
        }
        assert.deepEqual(
          model.map((_, index) => readRefcount(block, index, order)),
          model,
        );
      }),
      propertyOptions(100),
    );
  });
}

test('the first count of a byte is in its lowest bits, larger ones begin with the highest byte', () => {
  assert.equal(readRefcount(Buffer.from([0b0000_0010]), 1, 0), 1);
  assert.equal(readRefcount(Buffer.from([0b0000_1100]), 1, 1), 3);
  assert.equal(readRefcount(Buffer.from([0x5a]), 0, 2), 0xa);
  assert.equal(readRefcount(Buffer.from([1, 2]), 0, 4), 0x102);
});
