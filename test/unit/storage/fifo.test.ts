/** A queue that is as good as an array, and takes no longer the more there is in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fifo } from '../../../src/storage/fifo.ts';
import { propertyOptions } from '../../support/property-options.ts';

test('what comes out is what an array would give', () => {
  // Up to beyond the number at which entries that were taken are cleared away.
  const change = fc.integer({ min: -1500, max: 1500 });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      let next = 0;
      for (const count of changes) {
        for (let index = 0; index < count; index++) {
          fifo.push(next);
          model.push(next);
          next += 1;
        }
        for (let index = 0; index < -count; index++) {
          assert.equal(fifo.first, model[0]);
          assert.equal(fifo.shift(), model.shift());
        }
        assert.equal(fifo.length, model.length);
      }
      assert.equal(fifo.first, model[0]);
    }),
    propertyOptions(100),
  );
});
