/** Delayed disks, on a clock that is told to go on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DelayDisk, type DelaySettings } from '../../../../src/storage/filters/delay.ts';
import { StreamNumbers } from '../../../../src/storage/filters/random-numbers.ts';
import {
  adoptDisk,
  type DelayParameters,
  DiskOperation,
  delay,
  memory,
  openDisk,
} from '../../../../src/storage/index.ts';
import { Errno, PENDING } from '../../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../../support/disk-session.ts';
import { batchesArbitrary, ModelledDisk } from '../../../support/modelled-disk.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { ScriptedDisk } from '../../../support/scripted-disk.ts';
import { type SteppedClock, SteppedDisk, steppedClock } from '../../../support/stepped-disk.ts';

const { READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES } = DiskOperation;
const ALL = [READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES].map((operation) => ({ operation }));
const SIZE_BYTES = 128 * 1024;

function delayed(
  clock: SteppedClock,
  settings: Partial<DelaySettings>,
  below = new ScriptedDisk(),
): DelayDisk {
  const streams = new StreamNumbers().buffer;
  const given = { delaysMs: [0, 0, 0, 0, 0], jitterMs: 0, seed: 1, streams, ...settings };
  return new DelayDisk(below, given, clock);
}

test('each kind of request waits as long as it is to', (t) => {
  const clock = steppedClock(t);
  using stepped = new SteppedDisk(delayed(clock, { delaysMs: [30, 20, 50, -1, 10] }), clock);
  stepped.start(...ALL);
  stepped.pass(100);
  assert.deepEqual(
    stepped.endings.map(({ number, atMs }) => [number, atMs]),
    [
      [3, 0],
      [4, 10],
      [1, 20],
      [0, 30],
      [2, 50],
    ],
  );
  assert.equal(stepped.msUntilTurn, Number.POSITIVE_INFINITY);
});

test('none is done before its time, however close the times are', (t) => {
  const clock = steppedClock(t);
  using stepped = new SteppedDisk(delayed(clock, { delaysMs: [12, 11, 10, 11.5, 10.5] }), clock);
  stepped.start(...ALL);
  stepped.pass(20, 0.5);
  assert.deepEqual(stepped.order, [2, 4, 1, 3, 0]);
  assert.deepEqual(stepped.times, [10, 10.5, 11, 11.5, 12]);
});

test('what waits has not begun', (t) => {
  const clock = steppedClock(t);
  const below = new ScriptedDisk();
  below.channel.results = [PENDING, PENDING];
  using stepped = new SteppedDisk(delayed(clock, { delaysMs: [5, 5, 5, 5, 5] }, below), clock);
  stepped.start({ operation: READ }, { operation: WRITE });
  assert.equal(below.channel.asked.length, 0);
  assert.ok(stepped.msUntilTurn <= 5);
  stepped.pass(5);
  assert.equal(below.channel.asked.length, 2);
  assert.deepEqual(stepped.endings, [], 'the disk below takes its time, too');
  below.channel.finish(-Errno.EIO);
  below.channel.finish(0);
  assert.deepEqual(
    stepped.endings.map(({ result }) => result),
    [-Errno.EIO, 0],
  );
});

test('jitter is added at random, evenly, and comes again with the seed', (t) => {
  const clock = steppedClock(t);
  const timesOf = (seed: number): readonly number[] => {
    clock.nowMs = 0;
    using stepped = new SteppedDisk(
      delayed(clock, { delaysMs: [10, -1, -1, -1, -1], jitterMs: 100, seed }),
      clock,
    );
    for (let index = 0; index < 500; index++) stepped.start({ operation: READ });
    stepped.start({ operation: WRITE });
    assert.equal(stepped.endings.length, 1, 'what is not delayed is not delayed at random either');
    stepped.pass(200);
    const byNumber = stepped.endings.toSorted((one, other) => one.number - other.number);
    return byNumber.slice(0, 500).map(({ atMs }) => atMs);
  };
  const times = timesOf(7);
  assert.ok(times.every((ms) => ms >= 10 && ms <= 111));
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  assert.ok(Math.abs(mean - 60) < 8, `${mean}`);
  assert.deepEqual(timesOf(7), times);
  assert.notDeepEqual(timesOf(8), times);
});

test('what waits is abandoned undone', (t) => {
  const clock = steppedClock(t);
  const below = new ScriptedDisk();
  below.channel.results = [PENDING];
  using stepped = new SteppedDisk(delayed(clock, { delaysMs: [1, 50, 50, 50, 50] }, below), clock);
  stepped.start(...ALL);
  stepped.pass(1);
  stepped.channel.abandon?.();
  assert.deepEqual([...stepped.order].sort(), [1, 2, 3, 4]);
  assert.ok(stepped.endings.every(({ result }) => result === -Errno.ECANCELED));
  assert.ok(below.channel.isAbandoned);
  stepped.pass(100);
  assert.equal(below.channel.asked.length, 1, 'nothing of it goes on');
  below.channel.finish(0);
  assert.equal(stepped.endings.length, 5);
});

test('when a queue ends, nothing waits any more', (t) => {
  const clock = steppedClock(t);
  const below = new ScriptedDisk();
  using stepped = new SteppedDisk(delayed(clock, { delaysMs: [50, 60, 70, 80, 90] }, below), clock);
  stepped.start(...ALL);
  stepped.channel.hasten?.(false);
  assert.deepEqual(stepped.order, [0, 1, 2, 3, 4]);
  assert.ok(below.channel.isHastened);
  stepped.start({ operation: READ });
  assert.equal(stepped.order.length, 6);
});

for (const { engine, skip } of ENGINES) {
  test(`${engine}: random requests agree with the model`, { skip }, async () => {
    const batches = batchesArbitrary({ sizeBytes: SIZE_BYTES, discardZeroes: true });
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        const plan = delay(memory(SIZE_BYTES), { read: 0, write: 0.5, flush: 1, jitter: 1 });
        using session = new DiskSession(await openDisk(plan), engine);
        const model = new ModelledDisk(session, Buffer.alloc(SIZE_BYTES));
        for (const batch of all) model.run(batch);
        model.check();
      }),
      propertyOptions(15),
    );
  });
}

test('a delay takes real time, in other threads, too', async () => {
  const disk = await openDisk(delay(memory(4096), { read: 30 }));
  using session = new DiskSession(adoptDisk(structuredClone(disk.share())), 'epoll');
  const startedMs = performance.now();
  assert.ok(Buffer.isBuffer(session.read(0, 4096)));
  assert.ok(performance.now() - startedMs >= 29.9);
  await disk.close();
});

test('delays that make no sense are refused', async () => {
  const cases: readonly (readonly [DelayParameters, string])[] = [
    [{}, 'nothing is delayed: say read=<milliseconds>, write=<milliseconds>, or others'],
    [{ jitter: 5 }, 'nothing is delayed: say read=<milliseconds>, write=<milliseconds>, or others'],
    [{ read: -1 }, 'read is -1: expected a number from 0 to 3600000'],
    [{ writeZeroes: Number.NaN }, 'write-zeroes is NaN: expected a number from 0 to 3600000'],
  ];
  for (const [parameters, problem] of cases) {
    const opening = openDisk(delay(new ScriptedDisk(), parameters));
    await assert.rejects(opening, { code: 'DISK_OPTION', message: `delay: ${problem}` });
  }
  const { description } = await openDisk(
    delay(new ScriptedDisk(), { read: 5, writeZeroes: 0.5, jitter: 2, seed: 3 }),
  );
  assert.equal(description, 'read 5 ms, write-zeroes 0.5 ms, and up to 2 ms at random (seed 3)');
});
