/** Counted disks: what is counted and timed, on a clock that is told to go on, and what is said of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { between } from '../../../../src/storage/filters/stats/statistics.ts';
import { StatisticsRow } from '../../../../src/storage/filters/stats/statistics-row.ts';
import { statisticsLines } from '../../../../src/storage/filters/stats/statistics-text.ts';
import {
  adoptDisk,
  DiskOperation,
  memory,
  nullDisk,
  openDisk,
  StatsDisk,
  stats,
  statsOf,
  throttle,
} from '../../../../src/storage/index.ts';
import { Errno, PENDING, silentLogger } from '../../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../../support/disk-session.ts';
import { batchesArbitrary, ModelledDisk } from '../../../support/modelled-disk.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { ScriptedDisk } from '../../../support/scripted-disk.ts';
import { type SteppedClock, SteppedDisk, steppedClock } from '../../../support/stepped-disk.ts';

const { READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES } = DiskOperation;
const KIB = 1024;
const SIZE_BYTES = 64 * KIB;

function counted(
  clock: SteppedClock,
  below = new ScriptedDisk(),
): { disk: StatsDisk; below: ScriptedDisk } {
  return { disk: new StatsDisk(below, { clock }), below };
}

test('requests, bytes and errors are counted by operation', (t) => {
  const clock = steppedClock(t);
  const { disk, below } = counted(clock);
  using stepped = new SteppedDisk(disk, clock);
  below.channel.results = [0, 0, PENDING, -Errno.EIO, 0, PENDING, 0, 0];
  stepped.start(
    { operation: READ },
    { operation: READ, length: 512 },
    { operation: WRITE, length: 8 * KIB },
    { operation: WRITE },
    { operation: FLUSH, length: 0 },
    { operation: DISCARD },
    { operation: WRITE_ZEROES, length: 1024 * KIB },
  );
  const numbersOf = (): unknown =>
    Object.fromEntries(
      Object.entries(disk.statistics.operations).map(
        ([name, { requests, bytes, errors, latency }]) => {
          assert.equal(latency.count, requests);
          return [name, [requests, bytes, errors]];
        },
      ),
    );
  assert.deepEqual(numbersOf(), {
    read: [2, 4608, 0],
    write: [0, 0, 1],
    flush: [1, 0, 0],
    discard: [0, 0, 0],
    writeZeroes: [1, 1024 * KIB, 0],
  });
  assert.equal(disk.statistics.underWay, 2);
  below.channel.finish(0);
  below.channel.finish(-Errno.EIO);
  assert.deepEqual(numbersOf(), {
    read: [2, 4608, 0],
    write: [1, 8 * KIB, 1],
    flush: [1, 0, 0],
    discard: [0, 0, 1],
    writeZeroes: [1, 1024 * KIB, 0],
  });
  assert.equal(disk.statistics.underWay, 0);
});

test('requests are timed from start to end, and depth is what is under way', (t) => {
  const clock = steppedClock(t);
  const { disk, below } = counted(clock);
  using stepped = new SteppedDisk(disk, clock);
  below.channel.results = [PENDING, PENDING, PENDING];
  stepped.start({ operation: READ });
  clock.nowMs = 10;
  stepped.start({ operation: READ }, { operation: READ });
  clock.nowMs = 30;
  below.channel.finish(0);
  below.channel.finish(0);
  clock.nowMs = 40;
  below.channel.finish(0);
  clock.nowMs = 100;
  const { operations, maxDepth, meanUnderWay, elapsedMs } = disk.statistics;
  const { latency } = operations.read;
  assert.deepEqual([latency.minUs, latency.meanUs, latency.maxUs], [20_000, 80_000 / 3, 30_000]);
  assert.ok(Math.abs(latency.percentileUs(50) - 30_000) < 1000);
  assert.deepEqual([maxDepth, elapsedMs], [3, 100]);
  assert.ok(Math.abs(meanUnderWay - 0.8) < 1e-9);
});

test('what is given up is neither done nor an error', (t) => {
  const clock = steppedClock(t);
  const { disk, below } = counted(clock);
  using stepped = new SteppedDisk(disk, clock);
  below.channel.results = [PENDING];
  stepped.start({ operation: WRITE });
  stepped.channel.abandon?.();
  stepped.channel.hasten?.(false);
  assert.ok(below.channel.isAbandoned && below.channel.isHastened);
  below.channel.finish(-Errno.ECANCELED);
  const { operations, underWay } = disk.statistics;
  assert.deepEqual([operations.write.requests, operations.write.errors, underWay], [0, 0, 0]);
});

test('what has come since an earlier moment is the difference', (t) => {
  const clock = steppedClock(t);
  const { disk, below } = counted(clock);
  using stepped = new SteppedDisk(disk, clock);
  const oneRead = (ms: number): void => {
    below.channel.results = [PENDING];
    stepped.start({ operation: READ });
    clock.nowMs += ms;
    below.channel.finish(0);
  };
  oneRead(1000);
  const earlier = disk.statistics;
  oneRead(5);
  oneRead(5);
  const since = between(earlier, disk.statistics);
  const { read } = since.operations;
  assert.deepEqual([read.requests, read.bytes, since.elapsedMs], [2, 8 * KIB, 10]);
  assert.ok(Math.abs(read.latency.percentileUs(99) - 5000) < 200);
  assert.equal(read.latency.meanUs, 5000);
  assert.equal(since.meanUnderWay, 1);
});

for (const { engine, skip } of ENGINES) {
  test(`${engine}: random requests agree with the model, and with the count of them`, {
    skip,
  }, async () => {
    const batches = batchesArbitrary({ sizeBytes: SIZE_BYTES, discardZeroes: true });
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        const disk = await openDisk(stats(throttle(memory(SIZE_BYTES), { iopsTotal: 1e6 })));
        using session = new DiskSession(disk, engine);
        const model = new ModelledDisk(session, Buffer.alloc(SIZE_BYTES));
        for (const batch of all) model.run(batch);
        const [{ statistics }] = statsOf(disk);
        const countOf = (kind: string): number =>
          all.flat().filter((step) => step.kind === kind).length;
        assert.deepEqual(
          Object.values(statistics.operations).map(({ requests }) => requests),
          ['read', 'write', 'flush', 'discard', 'zero'].map(countOf),
        );
        assert.equal(statistics.underWay, 0);
        model.check();
      }),
      propertyOptions(15),
    );
  });
}

test('all threads are in it, and so are disks further down', async () => {
  const disk = await openDisk(stats(throttle(stats(memory(SIZE_BYTES)), { iopsTotal: 1e6 })));
  for (let thread = 0; thread < 3; thread++) {
    using session = new DiskSession(adoptDisk(structuredClone(disk.share())), 'epoll');
    for (let index = 0; index <= thread; index++) session.write(0, Buffer.alloc(4096));
  }
  const both = statsOf(disk).map(({ statistics }) => statistics.operations.write);
  assert.deepEqual(
    both.map(({ requests, bytes, latency }) => [requests, bytes, latency.count]),
    [
      [6, 6 * 4096, 6],
      [6, 6 * 4096, 6],
    ],
  );
  await disk.close();
});

test('it says what was done in the end, and in between as often as is asked for', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const clock = steppedClock(t);
  const said: string[] = [];
  const below = new ScriptedDisk();
  const disk = new StatsDisk(below, { clock, intervalMs: 2000 });
  disk.useLogger({ ...silentLogger, info: (text: string) => said.push(text) });
  {
    using stepped = new SteppedDisk(disk, clock);
    below.channel.results = [PENDING, -Errno.EIO];
    stepped.start({ operation: READ, length: 1024 * KIB }, { operation: WRITE_ZEROES });
    clock.nowMs = 2000;
    below.channel.finish(0);
    t.mock.timers.tick(2000);
    clock.nowMs = 4000;
    t.mock.timers.tick(2000);
  }
  await disk.close();
  t.mock.timers.tick(10_000);
  const time = '2.0 s';
  const times = ['mean', '50%', '99%', '99.9%', 'max'].map((each) => `${each} ${time}`).join(', ');
  const lines = (
    title: string,
    persecond: string,
    perSecond: string,
    mean: string,
    all: string,
  ): string[] => [
    `${title} (scripted): read: 1 (${persecond}/s), 1.0 MiB (${perSecond}/s); ${times}`,
    `${title} (scripted): write-zeroes: 0 (0/s), 1 failed`,
    `${title} (scripted): under way: 0 now, ${mean} on average, at most 2 of one queue; ${all} s`,
  ];
  assert.deepEqual(said, [
    ...lines('stats, lately', '1', '512.0 KiB', '1.00', '2.0'),
    'stats, lately (scripted): no requests in 2.0 s',
    ...lines('stats', '0', '256.0 KiB', '0.50', '4.0'),
  ]);
});

test('a disk that was asked for nothing says so', async () => {
  const disk = await openDisk(stats(memory(4096)));
  assert.match(statisticsLines(statsOf(disk)[0].statistics)[0], /^no requests in \d+\.\d s$/);
  await disk.close();
  await assert.rejects(openDisk(stats(memory(4096), { interval: 0 })), {
    message: 'stats: interval is 0: expected a number from 0.1 to 86400',
  });
});

test('threads that come and go are counted together, in no more rows than there are at once', async () => {
  const disk = new StatsDisk(await openDisk(nullDisk(SIZE_BYTES)));
  const begin = (): { thread: StatsDisk; row: StatisticsRow } => {
    const handle = disk.share();
    const thread = adoptDisk(handle);
    assert.ok(thread instanceof StatsDisk);
    return { thread, row: new StatisticsRow(handle.settings.row) };
  };
  const buffers = new Set<SharedArrayBuffer>();
  for (let round = 0; round < 10; round++) {
    const threads = [begin(), begin()];
    assert.notEqual(threads[0].row.buffer, threads[1].row.buffer);
    for (const { thread, row } of threads) {
      row.begin(1);
      row.finish(READ, 512, new Float64Array([5]), 0);
      buffers.add(row.buffer);
      assert.equal(thread.close(), undefined);
    }
  }
  assert.equal(buffers.size, 2);
  const { operations, underWay } = disk.statistics;
  assert.deepEqual([operations.read.requests, operations.read.bytes, underWay], [20, 10240, 0]);
  assert.equal(operations.read.latency.count, 20);
});
