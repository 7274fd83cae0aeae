/** Latencies of many requests: percentiles and ranges, next to sorted lists of the same numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LatencyHistogram } from '../../../../src/storage/index.ts';
import { propertyOptions } from '../../../support/property-options.ts';

function histogramOf(latenciesUs: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const latency of latenciesUs) histogram.record(latency);
  return histogram;
}

const latencies = fc.array(fc.double({ min: 0.02, max: 1e7, noNaN: true }), { minLength: 1 });

test('percentiles are right to a 32nd', () => {
  fc.assert(
    fc.property(latencies, fc.constantFrom(50, 90, 99, 99.9, 100), (list, percent) => {
      const sorted = list.toSorted((one, other) => one - other);
      const exact = sorted[Math.ceil((sorted.length * percent) / 100) - 1];
      const found = histogramOf(list).percentileUs(percent);
      assert(found >= exact * 0.999 - 0.01, `${found} for ${exact}`);
      assert(found <= exact * (1 + 1 / 32) + 0.02, `${found} for ${exact}`);
    }),
    propertyOptions(300),
  );
});

test('ranges hold every latency once', () => {
  fc.assert(
    fc.property(latencies, (list) => {
      const ranges = histogramOf(list).ranges();
      assert.equal(
        ranges.reduce((sum, { count }) => sum + count, 0),
        list.length,
      );
      assert(Math.min(...list) >= ranges[0].fromUs - 0.02);
      assert(Math.max(...list) < (ranges.at(-1)?.toUs ?? 0) + 0.02);
    }),
    propertyOptions(300),
  );
});

test('what is merged is as if recorded together', () => {
  fc.assert(
    fc.property(latencies, latencies, (one, other) => {
      const merged = histogramOf(one);
      merged.merge(histogramOf(other));
      const together = histogramOf([...one, ...other]);
      assert.deepEqual(merged.counts, together.counts);
      assert.deepEqual([merged.minUs, merged.maxUs], [together.minUs, together.maxUs]);
      assert(Math.abs(merged.meanUs - together.meanUs) < 1e-6 * together.meanUs);
    }),
    propertyOptions(300),
  );
});

test('without any latency all is 0', () => {
  const empty = new LatencyHistogram();
  assert.deepEqual(
    [empty.count, empty.minUs, empty.meanUs, empty.maxUs, empty.percentileUs(99)],
    [0, 0, 0, 0, 0],
  );
  assert.deepEqual(empty.ranges(), []);
});

test('what takes longer than the longest bucket counts all the same', () => {
  const histogram = histogramOf([1e9]);
  assert.deepEqual([histogram.count, histogram.maxUs], [1, 1e9]);
  assert(histogram.percentileUs(50) >= 2e7);
});
