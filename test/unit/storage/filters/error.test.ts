/** Disks that fail on purpose: which requests do, and that the others are not touched. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  ErrorDisk,
  type ErrorParameters,
  settingsOf,
} from '../../../../src/storage/filters/error/error.ts';
import {
  adoptDisk,
  DiskOperation,
  error,
  memory,
  openDisk,
} from '../../../../src/storage/index.ts';
import { Errno, silentLogger } from '../../../../src/sys/index.ts';
import { DiskSession } from '../../../support/disk-session.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { ScriptedDisk } from '../../../support/scripted-disk.ts';
import {
  type SteppedClock,
  SteppedDisk,
  type SteppedRequest,
  steppedClock,
} from '../../../support/stepped-disk.ts';

const { READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES } = DiskOperation;
const ALL = [READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES].map((operation) => ({ operation }));
const KIB = 1024;

/** A disk that fails, and what the one below it is asked for. */
class Rig implements Disposable {
  readonly below: ScriptedDisk = new ScriptedDisk();
  readonly disk: ErrorDisk;
  readonly stepped: SteppedDisk;

  constructor(clock: SteppedClock, parameters: ErrorParameters) {
    this.disk = new ErrorDisk(this.below, settingsOf(parameters, clock.nowMs), clock);
    this.stepped = new SteppedDisk(this.disk, clock);
  }

  /** Start requests, which end at once; the numbers of those that fail, and with what. */
  failures(requests: readonly SteppedRequest[]): (readonly [number, number])[] {
    const before = this.stepped.endings.length;
    const askedBefore = this.below.channel.asked.length;
    this.stepped.start(...requests);
    const endings = this.stepped.endings.slice(before);
    const failed = endings.filter(({ result }) => result !== 0);
    const asked = this.below.channel.asked.length - askedBefore;
    assert.equal(asked, requests.length - failed.length, 'what fails does not get below');
    return failed.map(({ number, result }) => [number - before, result]);
  }

  [Symbol.dispose](): void {
    this.stepped[Symbol.dispose]();
  }
}

/** `count` reads. */
function reads(count: number): { operation: number }[] {
  return Array.from({ length: count }, () => ({ operation: READ }));
}

test('all requests fail, or those of some kinds, with what is said', (t) => {
  const clock = steppedClock(t);
  const failing = (parameters: ErrorParameters) => {
    using rig = new Rig(clock, parameters);
    return rig.failures(ALL);
  };
  assert.deepEqual(
    failing({}),
    [0, 1, 2, 3, 4].map((number) => [number, -Errno.EIO]),
  );
  assert.deepEqual(failing({ on: ['write', 'flush'], errno: 'ENOSPC' }), [
    [1, -Errno.ENOSPC],
    [2, -Errno.ENOSPC],
  ]);
  assert.deepEqual(failing({ on: ['write-zeroes'], errno: 'EOPNOTSUPP' }), [
    [4, -Errno.EOPNOTSUPP],
  ]);
  assert.deepEqual(failing({ rate: 0 }), []);
});

test('requests fail that touch some bytes, and flushes have none', (t) => {
  const clock = steppedClock(t);
  const range = fc.record({
    from: fc.option(fc.nat(100)),
    to: fc.option(fc.integer({ min: 101, max: 200 })),
  });
  const request = fc.record({ offset: fc.nat(200), length: fc.integer({ min: 1, max: 50 }) });
  fc.assert(
    fc.property(range, fc.array(request, { maxLength: 20 }), ({ from, to }, requests) => {
      fc.pre(from !== null || to !== null);
      using rig = new Rig(clock, {
        ...(from === null ? {} : { from: from * KIB }),
        ...(to === null ? {} : { to: to * KIB }),
      });
      const failed = rig.failures(
        requests.map(({ offset, length }) => ({
          operation: READ,
          offset: offset * KIB,
          length: length * KIB,
        })),
      );
      const touches = requests.flatMap(({ offset, length }, index) => {
        const blocks = Array.from({ length }, (_, block) => offset + block);
        return blocks.some((block) => block >= (from ?? 0) && block < (to ?? 1000)) ? [index] : [];
      });
      assert.deepEqual(
        failed.map(([number]) => number),
        touches,
      );
      assert.deepEqual(rig.failures([{ operation: FLUSH }]), []);
    }),
    propertyOptions(200),
  );
});

test('so many go well first, so many fail, and then all go well', (t) => {
  const clock = steppedClock(t);
  using rig = new Rig(clock, { on: ['read'], after: 3, count: 2 });
  const failed = rig.failures([{ operation: WRITE }, ...reads(10)]);
  assert.deepEqual(
    failed.map(([number]) => number),
    [4, 5],
  );
  assert.equal(rig.disk.failed, 2);
});

test('requests fail from one time on, to another', (t) => {
  const clock = steppedClock(t);
  clock.nowMs = 1000;
  using rig = new Rig(clock, { start: 10, end: 30 });
  const failedAt = [1000, 1009, 1010, 1029, 1030, 5000].filter((nowMs) => {
    clock.nowMs = nowMs;
    return rig.failures(reads(1)).length === 1;
  });
  assert.deepEqual(failedAt, [1010, 1029]);
});

test('requests fail while a file is there', (t) => {
  const clock = steppedClock(t);
  const file = join(imageFolder(t), 'trigger');
  using rig = new Rig(clock, { file });
  const fails = (): boolean => {
    clock.nowMs += 20;
    return rig.failures(reads(1)).length === 1;
  };
  assert.equal(fails(), false);
  writeFileSync(file, '');
  assert.equal(fails(), true);
  assert.equal(fails(), true);
  rmSync(file);
  assert.equal(fails(), false);
});

test('chance is as likely as it is to be, and comes again with the seed', (t) => {
  const clock = steppedClock(t);
  const failing = (seed: number, rate: number): number[] => {
    using rig = new Rig(clock, { rate, seed });
    const numbers: number[] = [];
    for (let round = 0; round < 10; round++) {
      numbers.push(...rig.failures(reads(1000)).map(([number]) => round * 1000 + number));
    }
    return numbers;
  };
  const failed = failing(3, 0.1);
  assert.ok(Math.abs(failed.length - 1000) < 150, `${failed.length} of 10000`);
  assert.deepEqual(failing(3, 0.1), failed);
  assert.notDeepEqual(failing(4, 0.1), failed);
});

test('threads count together', async () => {
  const disk = await openDisk(error(memory(4096), { after: 2, count: 2 }));
  const sessions = [0, 1].map(
    () => new DiskSession(adoptDisk(structuredClone(disk.share())), 'epoll'),
  );
  const results = Array.from({ length: 6 }, (_, index) => sessions[index % 2].flush());
  assert.deepEqual(results, [0, 0, -Errno.EIO, -Errno.EIO, 0, 0]);
  const said: string[] = [];
  disk.useLogger?.({ ...silentLogger, info: (text: string) => said.push(text) });
  for (const session of sessions) session[Symbol.dispose]();
  await disk.close();
  assert.deepEqual(said, ['error: 2 requests have failed on purpose']);
});

test('what is pending below is abandoned and hastened there', (t) => {
  const clock = steppedClock(t);
  using rig = new Rig(clock, {});
  rig.stepped.channel.abandon?.();
  rig.stepped.channel.hasten?.(false);
  assert.deepEqual([rig.below.channel.isAbandoned, rig.below.channel.isHastened], [true, true]);
});

test('errors that make no sense are refused', async () => {
  const cases: readonly (readonly [ErrorParameters, string])[] = [
    [{ from: 8192, to: 4096 }, 'from is 8192, not before to, which is 4096'],
    [{ start: 5, end: 5 }, 'start is 5, not before end, which is 5'],
    [{ on: ['flush'], from: 512 }, 'from and to are not for flushes, which have no place'],
    [{ rate: 1.5 }, 'rate is 1.5: expected a number from 0 to 1'],
    [{ count: 0 }, 'count is 0: expected a whole number from 1 to 2147483647'],
    [{ on: [] }, 'on is : expected some of read, write, flush, discard, write-zeroes, joined by +'],
    [
      { errno: 'ECANCELED' as 'EIO' },
      'errno is ECANCELED: expected one of EIO, EACCES, EAGAIN, EDQUOT, EINVAL, ENODEV, ENOMEM, ' +
        'ENOSPC, EOPNOTSUPP, EPERM, EROFS, ETIMEDOUT',
    ],
  ];
  for (const [parameters, problem] of cases) {
    const opening = openDisk(error(new ScriptedDisk(), parameters));
    await assert.rejects(opening, { code: 'DISK_OPTION', message: `error: ${problem}` });
  }
  const { description } = await openDisk(
    error(new ScriptedDisk(), { on: ['read', 'flush'], rate: 0.01, seed: 5 }),
  );
  assert.equal(description, 'fails on purpose: read, flush, one in 100 (seed 5)');
});
