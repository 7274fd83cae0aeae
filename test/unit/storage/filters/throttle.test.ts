/** Throttled disks, on a clock that is told to go on: what is let through, when, and in which order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ThrottleDisk } from '../../../../src/storage/filters/throttle/throttle.ts';
import { ThrottleGroup } from '../../../../src/storage/filters/throttle/throttle-group.ts';
import { limitsOf } from '../../../../src/storage/filters/throttle/throttle-limits.ts';
import {
  type Disk,
  DiskOperation,
  nullDisk,
  openDisk,
  type ThrottleParameters,
  throttle,
} from '../../../../src/storage/index.ts';
import { Errno, PENDING } from '../../../../src/sys/index.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { ScriptedDisk } from '../../../support/scripted-disk.ts';
import { type SteppedClock, SteppedDisk, steppedClock } from '../../../support/stepped-disk.ts';

const KIB = 1024;
const { READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES } = DiskOperation;

function throttled(clock: SteppedClock, parameters: ThrottleParameters, below: Disk): ThrottleDisk {
  const group = ThrottleGroup.create(limitsOf(parameters), parameters.iopsSize ?? 0);
  return new ThrottleDisk(below, group, clock);
}

/** A queue that always has so many requests under way: as many as are not let through at once. */
class BusyQueue implements Disposable {
  readonly stepped: SteppedDisk;
  readonly #depth: number;
  readonly #request: { readonly operation: number; readonly length?: number };
  #isFilling = false;

  constructor(
    stepped: SteppedDisk,
    depth: number,
    request: { readonly operation: number; readonly length?: number },
  ) {
    this.stepped = stepped;
    this.#depth = depth;
    this.#request = request;
    stepped.onEnding = () => this.#fill();
    this.#fill();
  }

  #fill(): void {
    if (this.#isFilling) return;
    this.#isFilling = true;
    while (this.stepped.pending < this.#depth) this.stepped.start(this.#request);
    this.#isFilling = false;
  }

  get done(): number {
    return this.stepped.endings.length;
  }

  [Symbol.dispose](): void {
    this.#isFilling = true;
    this.stepped.channel.abandon?.();
    this.stepped[Symbol.dispose]();
  }
}

test('as many requests are let through as the limit says, at any depth', async (t) => {
  const clock = steppedClock(t);
  const below = await openDisk(nullDisk(2 ** 30));
  for (const [depth, iopsTotal] of [
    [1, 50],
    [32, 50],
    [32, 5000],
    [200, 100],
    [1, 1],
  ]) {
    clock.nowMs = 0;
    using queue = new BusyQueue(
      new SteppedDisk(throttled(clock, { iopsTotal }, below), clock),
      depth,
      {
        operation: READ,
      },
    );
    queue.stepped.pass(20_000);
    // What has room in the bucket, a tenth of a second's, comes on top; and one that makes it over-full.
    const expected = 20 * iopsTotal + Math.floor(iopsTotal / 10) + 1;
    assert.ok(Math.abs(queue.done - expected) <= 1, `${iopsTotal}: ${queue.done}, not ${expected}`);
  }
});

test('bytes are limited whatever the size of requests', async (t) => {
  const clock = steppedClock(t);
  const below = await openDisk(nullDisk(2 ** 30));
  for (const length of [512, 4096, 65536, 2 ** 20]) {
    clock.nowMs = 0;
    const disk = throttled(clock, { bpsWrite: 2 ** 20 }, below);
    using queue = new BusyQueue(new SteppedDisk(disk, clock), 8, { operation: WRITE, length });
    queue.stepped.pass(60_000);
    const bytes = queue.done * length;
    const excess = bytes - 60 * 2 ** 20;
    assert.ok(excess > 0 && excess <= 2 ** 20 / 10 + length, `${length}: ${bytes}`);
  }
});

test('limits of reads hold up no writes, limits of writes no reads, and flushes pass', async (t) => {
  const clock = steppedClock(t);
  const below = new ScriptedDisk();
  using reads = new SteppedDisk(throttled(clock, { iopsRead: 1 }, below), clock);
  const all = [READ, READ, WRITE, WRITE, DISCARD, WRITE_ZEROES, FLUSH].map((operation) => ({
    operation,
  }));
  reads.start(...all);
  assert.deepEqual(reads.order, [0, 2, 3, 4, 5, 6]);
  reads.pass(1000);
  assert.deepEqual(reads.order, [0, 2, 3, 4, 5, 6, 1]);
  using writes = new SteppedDisk(throttled(clock, { iopsWrite: 1 }, new ScriptedDisk()), clock);
  writes.start(...all);
  assert.deepEqual(writes.order, [0, 1, 2, 6]);
  writes.pass(3000);
  assert.deepEqual(writes.order, [0, 1, 2, 6, 3, 4, 5], 'in the order they came in');
  using both = new SteppedDisk(throttled(clock, { iopsTotal: 1 }, new ScriptedDisk()), clock);
  both.start(...all);
  assert.deepEqual(both.order, [0, 6]);
  both.pass(5000);
  assert.deepEqual([...both.order].sort(), [0, 1, 2, 3, 4, 5, 6]);
});

test('large requests count as several operations', (t) => {
  const clock = steppedClock(t);
  const disk = throttled(clock, { iopsTotal: 10, iopsSize: 8 * KIB }, new ScriptedDisk());
  using stepped = new SteppedDisk(disk, clock);
  const sizes = [32, 4, 4, 16, 4].map((kib) => ({ operation: READ, length: kib * KIB }));
  stepped.start(...sizes);
  stepped.pass(2000);
  // One operation's room, and a tenth of a second for each: 4, 1, 1, 2 of them before the last.
  assert.deepEqual(stepped.times, [0, 300, 400, 500, 700]);
});

/** What a throttle may do: compared with its definition, over all spans of time. */
function assertWithin(
  endings: readonly { readonly atMs: number }[],
  { iopsTotal = 0, iopsTotalMax = 0, iopsTotalMaxLength = 1 }: ThrottleParameters,
): void {
  const room = iopsTotalMax > 0 ? iopsTotalMax * iopsTotalMaxLength : iopsTotal / 10;
  for (let first = 0; first < endings.length; first++) {
    for (let last = first; last < endings.length; last++) {
      const seconds = (endings[last].atMs - endings[first].atMs) / 1000;
      const count = last - first + 1;
      const what = `${count} requests in ${seconds} s`;
      assert.ok(count <= room + iopsTotal * seconds + 1 + 1e-6, what);
      if (iopsTotalMaxLength === 1) continue;
      assert.ok(count <= iopsTotalMax * (seconds + 0.1) + 1 + 1e-6, `${what}, in a burst`);
    }
  }
}

test('no span of time sees more than the average, the burst and one request', async (t) => {
  const clock = steppedClock(t);
  const below = await openDisk(nullDisk(2 ** 30));
  const parameters = fc
    .record({
      iopsTotal: fc.integer({ min: 1, max: 60 }),
      factor: fc.option(fc.integer({ min: 1, max: 5 })),
      iopsTotalMaxLength: fc.integer({ min: 1, max: 4 }),
    })
    .map(({ iopsTotal, factor, iopsTotalMaxLength }): ThrottleParameters => {
      return factor === null
        ? { iopsTotal }
        : { iopsTotal, iopsTotalMax: factor * iopsTotal, iopsTotalMaxLength };
    });
  const arrivals = fc.array(fc.record({ count: fc.nat(30), pauseMs: fc.nat(1500) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(parameters, arrivals, (limits, steps) => {
      clock.nowMs = 0;
      using stepped = new SteppedDisk(throttled(clock, limits, below), clock);
      let started = 0;
      for (const { count, pauseMs } of steps) {
        for (let index = 0; index < count; index++) stepped.start({ operation: READ });
        started += count;
        stepped.pass(pauseMs, 7);
      }
      // And what is asked for is not held back for ever.
      stepped.pass((started / (limits.iopsTotal ?? 1) + 1) * 1000, 7);
      assert.deepEqual(
        stepped.order,
        Array.from({ length: started }, (_, index) => index),
      );
      assertWithin(stepped.endings, limits);
    }),
    propertyOptions(60),
  );
});

test('a burst is as fast and as long as it may be', (t) => {
  const clock = steppedClock(t);
  const limits = { iopsTotal: 100, iopsTotalMax: 1000, iopsTotalMaxLength: 10 };
  using queue = new BusyQueue(
    new SteppedDisk(throttled(clock, limits, new ScriptedDisk()), clock),
    64,
    {
      operation: READ,
    },
  );
  const doneIn = (ms: number): number => {
    const before = queue.done;
    queue.stepped.pass(ms);
    return queue.done - before;
  };
  // 1000 a second leave 900 of them in the bucket, which holds 10000: full after 11.1 seconds.
  assert.ok(Math.abs(doneIn(11_000) - 11_000) <= 2);
  doneIn(200);
  assert.ok(Math.abs(doneIn(10_000) - 1000) <= 2, 'then it is the average');
});

test('queues take turns, and a shallow one is not starved by a deep one', async (t) => {
  const clock = steppedClock(t);
  const disk = throttled(clock, { iopsTotal: 1000 }, await openDisk(nullDisk(2 ** 30)));
  using deep = new BusyQueue(new SteppedDisk(disk, clock), 256, { operation: WRITE });
  using shallow = new BusyQueue(new SteppedDisk(disk, clock), 2, { operation: READ });
  const before = [deep.done, shallow.done];
  for (let ms = 0; ms < 10_000; ms++) {
    clock.nowMs += 1;
    deep.stepped.turn();
    shallow.stepped.turn();
  }
  const [deepShare, shallowShare] = [deep.done - before[0], shallow.done - before[1]];
  assert.ok(Math.abs(deepShare + shallowShare - 10_000) <= 2, `${deepShare} and ${shallowShare}`);
  assert.ok(Math.abs(deepShare - shallowShare) <= 20, `${deepShare} and ${shallowShare}`);
});

test('while requests wait, the reactor sleeps until the first may start', (t) => {
  const clock = steppedClock(t);
  using stepped = new SteppedDisk(throttled(clock, { iopsTotal: 2 }, new ScriptedDisk()), clock);
  stepped.start({ operation: READ }, { operation: READ }, { operation: WRITE });
  stepped.turn();
  // One was let through: 0.8 of it have to leak.
  assert.equal(Math.round(stepped.msUntilTurn), 400);
  stepped.pass(5000, 100);
  assert.equal(stepped.order.length, 3);
  assert.equal(stepped.msUntilTurn, Number.POSITIVE_INFINITY);
});

test('what waits is abandoned undone, and what was spent for it is not lost to others', (t) => {
  const clock = steppedClock(t);
  const below = new ScriptedDisk();
  const disk = throttled(clock, { iopsTotal: 1 }, below);
  below.channel.results = [PENDING];
  {
    using stepped = new SteppedDisk(disk, clock);
    for (let index = 0; index < 10; index++) stepped.start({ operation: WRITE });
    stepped.channel.abandon?.();
    const waited = Array.from({ length: 9 }, (_, index) => index + 1);
    assert.deepEqual(stepped.order, waited, 'but for the one that the disk has');
    assert.ok(stepped.endings.every(({ result }) => result === -Errno.ECANCELED));
    assert.ok(below.channel.isAbandoned);
    stepped.pass(20_000, 100);
    assert.equal(below.channel.asked.length, 1);
    below.channel.finish(0);
    assert.deepEqual(stepped.endings.at(-1), { number: 0, result: 0, atMs: 20_000 });
  }
});

test('what is abandoned early gives others its turn', (t) => {
  const clock = steppedClock(t);
  const disk = throttled(clock, { iopsTotal: 1 }, new ScriptedDisk());
  using one = new SteppedDisk(disk, clock);
  using other = new SteppedDisk(disk, clock);
  one.start({ operation: READ }, { operation: READ });
  one.channel.abandon?.();
  other.start({ operation: READ });
  other.pass(1000);
  assert.deepEqual(other.times, [900]);
});

test('when a queue ends, what waits is done at once, and others wait the longer', (t) => {
  const clock = steppedClock(t);
  const disk = throttled(clock, { iopsTotal: 1 }, new ScriptedDisk());
  using one = new SteppedDisk(disk, clock);
  using other = new SteppedDisk(disk, clock);
  for (let index = 0; index < 10; index++) one.start({ operation: index % 2 });
  assert.deepEqual(one.order, [0]);
  one.channel.hasten?.(false);
  assert.equal(one.order.length, 10);
  one.start({ operation: READ });
  assert.equal(one.order.length, 11);
  other.start({ operation: READ });
  other.pass(20_000, 100);
  assert.deepEqual(other.times, [10_900]);
});

test('a wait that timers do not reach is waited for all the same', (t) => {
  const clock = steppedClock(t);
  using stepped = new SteppedDisk(throttled(clock, { bpsTotal: 1 }, new ScriptedDisk()), clock);
  const length = 2 ** 21;
  stepped.start({ operation: READ, length }, { operation: READ, length });
  assert.ok(stepped.msUntilTurn < 2 ** 31, 'no timer of Node.js waits longer');
  stepped.pass(2 ** 31 + 1e6, 2 ** 24);
  assert.equal(stepped.order.length, 2);
});

test('limits that contradict each other are refused', async () => {
  const cases: readonly (readonly [ThrottleParameters, string])[] = [
    [{}, 'nothing is limited: say iops-total=<n>, bps-total=<bytes>, or others'],
    [{ iopsTotal: 0 }, 'nothing is limited: say iops-total=<n>, bps-total=<bytes>, or others'],
    [{ iopsTotal: 5, iopsRead: 2 }, 'iops-total excludes iops-read and iops-write'],
    [{ bpsTotal: 5, bpsWrite: 2 }, 'bps-total excludes bps-read and bps-write'],
    [{ iopsTotal: 5, iopsTotalMax: 4 }, 'iops-total-max is 4: less than iops-total, 5'],
    [{ iopsTotal: 5, bpsReadMax: 4 }, 'bps-read-max is 4, but there is no bps-read'],
    [
      { iopsTotal: 5, iopsTotalMaxLength: 2 },
      'iops-total-max-length is for bursts: there is no iops-total-max',
    ],
    [{ bpsTotal: 5, iopsSize: 4096 }, 'iops-size is for limits of iops'],
    [
      { bpsTotal: 5, bpsTotalMax: 1e12, bpsTotalMaxLength: 1001 },
      'bps-total-max-length is 1001: at most 1000 at that rate',
    ],
    [{ iopsTotal: -1 }, 'iops-total is -1: expected a whole number from 0 to 1000000000000000'],
    [{ iopsTotal: 1.5 }, 'iops-total is 1.5: expected a whole number from 0 to 1000000000000000'],
    [
      { iopsTotal: 5, iopsTotalMax: 5, iopsTotalMaxLength: 0 },
      'iops-total-max-length is 0: expected a whole number from 1 to 2147483647',
    ],
  ];
  for (const [parameters, problem] of cases) {
    const below = new ScriptedDisk();
    const message = `throttle: ${problem}`;
    await assert.rejects(openDisk(throttle(below, parameters)), { code: 'DISK_OPTION', message });
  }
  const disk = await openDisk(
    throttle(new ScriptedDisk(), {
      iopsRead: 5,
      bpsTotal: 2 ** 20,
      iopsReadMax: 50,
      iopsReadMaxLength: 60,
    }),
  );
  assert.equal(disk.description, 'at most bps-total 1048576, iops-read 5 (in bursts 50)');
});
