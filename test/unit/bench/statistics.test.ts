/** Figures of the benchmark: medians over rounds, and the table. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatTable, median, summarise } from '../../../bench/statistics.ts';
import { markdownSummary } from '../../../bench/summary.ts';
import type { Measurement } from '../../../bench/workload.ts';
import { propertyOptions } from '../../support/property-options.ts';

test('the median is the middle one, or the mean of the two in the middle', () => {
  assert.equal(median([7]), 7);
  assert.equal(median([9, 1, 10]), 9);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([100, 9, 20]), 20, 'by number, not by text');
  assert.equal(median([-1, -5, 0]), -1);
});

test('half of the values are on each side of the median, and they stay as they are', () => {
  const values = fc.array(fc.integer(), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(values, (given) => {
      const before = [...given];
      const middle = median(given);
      assert.deepEqual(given, before);
      const below = given.filter((value) => value < middle).length;
      const above = given.filter((value) => value > middle).length;
      assert.ok(below <= given.length / 2 && above <= given.length / 2);
    }),
    propertyOptions(200),
  );
});

const ROUND: Measurement = {
  requests: 1000,
  seconds: 2,
  p50Us: 10,
  p99Us: 20,
  p999Us: 30,
  serverCpuSeconds: 0.5,
};

test('one round is summed up as what it is', () => {
  assert.deepEqual(summarise([ROUND], 4096), {
    iops: 500,
    megabytesPerSecond: 2.048,
    p50Us: 10,
    p99Us: 20,
    p999Us: 30,
    cpuSecondsPerMillion: 500,
    roundsIops: [500],
  });
});

test('each figure is the median of its own over the rounds', () => {
  const rounds: Measurement[] = [
    { ...ROUND, seconds: 1, p50Us: 3, p99Us: 90, serverCpuSeconds: 0.1 },
    { ...ROUND, seconds: 4, p50Us: 1, p99Us: 70, serverCpuSeconds: 0.2 },
    { ...ROUND, seconds: 2, p50Us: 2, p99Us: 80, serverCpuSeconds: 0.9 },
  ];
  const result = summarise(rounds, 1_000_000);
  assert.deepEqual(result.roundsIops, [1000, 250, 500], 'in the order of the rounds');
  assert.equal(result.iops, 500);
  assert.equal(result.megabytesPerSecond, 500);
  assert.deepEqual([result.p50Us, result.p99Us, result.p999Us], [2, 80, 30]);
  assert.equal(Math.round(result.cpuSecondsPerMillion), 200);
});

test('a table has its first column to the left and the others to the right', () => {
  const rows = [
    ['peer', 'IOPS', 'p99'],
    ['vhostkit', '1', '12345'],
    ['x', '123456', ''],
  ];
  const lines = ['peer        IOPS    p99', 'vhostkit       1  12345', 'x         123456       '];
  assert.equal(formatTable(rows), lines.join('\n'));
  assert.equal(formatTable([['only']]), 'only');
});

test('the summary has a row for each workload and a column for each medium', () => {
  const result = (requests: number) => summarise([{ ...ROUND, requests }], 4096);
  const media = [
    {
      medium: 'tmpfs',
      workloads: [
        { workload: 'a', results: { vhostkit: result(400_000), qemu: result(100_000) } },
        { workload: 'b', results: { vhostkit: result(20_000) } },
      ],
    },
    { medium: 'null', workloads: [{ workload: 'b', results: { qemu: result(2) } }] },
  ];
  assert.equal(
    markdownSummary(media),
    [
      '| thousand requests/s | tmpfs | null |',
      '| --- | --- | --- |',
      '| a | 200 (4.00) |  |',
      '| b | 10.0 |  |',
    ].join('\n'),
  );
});
