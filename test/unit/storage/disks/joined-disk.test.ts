/** Disks one after the other: as one to whoever uses them, at their borders and when they fail. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  adoptDisk,
  concat,
  type Disk,
  DiskOperation,
  memory,
  openDisk,
  readonly,
} from '../../../../src/storage/index.ts';
import { Errno, PENDING } from '../../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../../support/disk-session.ts';
import { batchesArbitrary, ModelledDisk } from '../../../support/modelled-disk.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { ScriptedDisk } from '../../../support/scripted-disk.ts';
import { SteppedDisk, steppedClock } from '../../../support/stepped-disk.ts';

const KIB = 1024;
const { READ, WRITE, FLUSH, DISCARD } = DiskOperation;
const EIO = -Errno.EIO;
const CANCELED = -Errno.ECANCELED;

/** Sizes of disks in sectors: some requests cross several borders. */
const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 99 })), {
  minLength: 1,
  maxLength: 12,
});

for (const { engine, skip } of ENGINES) {
  test(`${engine}: random requests agree with the model`, { skip }, async () => {
    const cases = sizes.chain((sectors) => {
      const sizeBytes = sectors.reduce((sum, each) => sum + each, 0) * 512;
      const batches = batchesArbitrary({ sizeBytes, discardZeroes: true });
      return fc.record({
        sectors: fc.constant(sectors),
        sizeBytes: fc.constant(sizeBytes),
        batches,
      });
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ sectors, sizeBytes, batches }) => {
        const parts = sectors.map((each) => memory(each * 512));
        using session = new DiskSession(await openDisk(concat(...parts)), engine);
        assert.equal(session.disk.info.sizeBytes, sizeBytes);
        const model = new ModelledDisk(session, Buffer.alloc(sizeBytes));
        for (const batch of batches) model.run(batch);
        model.check();
      }),
      propertyOptions(40),
    );
  });
}

test('it is what the most demanding of its disks is', async () => {
  const infoOf = async (...disks: readonly Disk[]): Promise<Disk['info']> => {
    return (await openDisk(concat(...disks))).info;
  };
  const plain = { sizeBytes: 64 * KIB, writeBack: false };
  const one = new ScriptedDisk({ ...plain, logicalBlockBytes: 4096, physicalBlockBytes: 4096 });
  const other = new ScriptedDisk({ ...plain, canDiscard: false, optimalIoBytes: 65536 });
  const expected = { ...one.info, sizeBytes: 128 * KIB, canDiscard: false, optimalIoBytes: 65536 };
  assert.deepEqual(await infoOf(one, other), expected);
  const caching = new ScriptedDisk({ ...plain, writeBack: true, canWriteZeroes: false });
  const three = { ...expected, sizeBytes: 192 * KIB, writeBack: true, canWriteZeroes: false };
  assert.deepEqual(await infoOf(one, other, caching), three);
  const constant = await openDisk(readonly(new ScriptedDisk(plain)));
  const info = await infoOf(one, constant);
  assert.deepEqual([info.readOnly, info.canDiscard, info.canWriteZeroes], [true, false, false]);
});

test('a disk that is no whole number of blocks is refused, and what was opened is closed', async () => {
  const odd = new ScriptedDisk({ sizeBytes: 5 * 512 });
  const large = new ScriptedDisk({ logicalBlockBytes: 4096, physicalBlockBytes: 4096 });
  const message =
    'concat: disk 1 of 2 (scripted) has 2560 bytes, no multiple of the block size, which is 4096';
  await assert.rejects(openDisk(concat(odd, large)), { code: 'DISK_OPTION', message });
  await assert.rejects(openDisk(concat()), {
    message: 'concat: 0 disks below it: expected at least one',
  });
});

/** Three disks of 64 KiB that are told what to do. */
async function scripted(): Promise<{ disk: Disk; parts: readonly ScriptedDisk[] }> {
  const parts = [true, false, true].map(
    (writeBack) => new ScriptedDisk({ sizeBytes: 64 * KIB, writeBack }),
  );
  return { disk: await openDisk(concat(...parts)), parts };
}

test('a flush goes to all, and fails if one of them does', async (t) => {
  const clock = steppedClock(t);
  const { disk, parts } = await scripted();
  const [first, second, third] = parts.map((part) => part.channel);
  using stepped = new SteppedDisk(disk, clock);
  first.results = [PENDING, 0, PENDING];
  third.results = [PENDING, EIO, PENDING];
  stepped.start({ operation: FLUSH });
  assert.deepEqual([first.asked.length, second.asked.length, third.asked.length], [1, 1, 1]);
  third.finish(0);
  assert.deepEqual(stepped.endings, [], 'the first has not finished');
  first.finish(0);
  stepped.start({ operation: FLUSH }, { operation: FLUSH });
  first.finish(EIO);
  third.finish(0);
  assert.deepEqual(
    stepped.endings.map(({ result }) => result),
    [0, EIO, EIO],
  );
});

test('a request that crosses borders ends with the first that fails, and goes no further', async (t) => {
  const clock = steppedClock(t);
  const { disk, parts } = await scripted();
  const [first, second, third] = parts.map((part) => part.channel);
  using stepped = new SteppedDisk(disk, clock);
  const across = { offset: 60 * KIB, length: 72 * KIB };
  second.results = [PENDING, EIO, PENDING];
  stepped.start(
    { operation: READ, ...across },
    { operation: WRITE, ...across },
    { operation: DISCARD, ...across },
  );
  const asked = { operation: READ, offsetBytes: 60 * KIB, lengthBytes: 4 * KIB, flags: 0 };
  assert.deepEqual(first.asked[0], asked);
  assert.deepEqual(second.asked[0], { ...asked, offsetBytes: 0, lengthBytes: 64 * KIB });
  assert.equal(third.asked.length, 0, 'nothing has come so far');
  second.finish(0);
  assert.deepEqual(third.asked, [{ ...asked, offsetBytes: 0 }]);
  second.finish(EIO);
  assert.equal(third.asked.length, 1);
  assert.deepEqual(
    stepped.endings.map(({ number, result }) => [number, result]),
    [
      [1, EIO],
      [0, 0],
      [2, EIO],
    ],
  );
});

test('of what is abandoned nothing more is started', async (t) => {
  const clock = steppedClock(t);
  const { disk, parts } = await scripted();
  const [first, second] = parts.map((part) => part.channel);
  using stepped = new SteppedDisk(disk, clock);
  first.results = [PENDING, PENDING];
  stepped.start({ operation: WRITE, offset: 60 * KIB, length: 8 * KIB }, { operation: WRITE });
  stepped.channel.abandon?.();
  assert.ok(first.isAbandoned && second.isAbandoned);
  first.finish(0);
  first.finish(0);
  assert.equal(second.asked.length, 0);
  assert.deepEqual(
    stepped.endings.map(({ result }) => result),
    [CANCELED, 0],
  );
  stepped.channel.hasten?.(false);
  assert.ok(first.isHastened && second.isHastened);
});

test('other threads have the same disks in the same order', async () => {
  const disk = await openDisk(concat(memory(4096), memory(8192), memory(4096)));
  const content = Buffer.from(Array.from({ length: 16384 }, (_, at) => at >> 9));
  {
    using session = new DiskSession(adoptDisk(structuredClone(disk.share())), 'epoll');
    assert.equal(session.write(0, content), 0);
  }
  using session = new DiskSession(disk, 'epoll');
  assert.deepEqual(session.read(0, 16384), content);
});

test('the right to use it is that to use all of its disks, or none', () => {
  const held: string[] = [];
  const locked = (name: string, isFree: boolean): Disk => {
    const disk = new ScriptedDisk({ sizeBytes: 4096 });
    const acquire = (): void => {
      if (!isFree) throw new Error('in use');
      held.push(name);
    };
    return Object.assign(disk, {
      claim: { acquire, release: () => held.splice(held.indexOf(name), 1) },
    });
  };
  return openDisk(
    concat(locked('a', true), new ScriptedDisk({ sizeBytes: 4096 }), locked('b', true)),
  ).then(async (disk) => {
    disk.claim?.acquire();
    assert.deepEqual(held, ['a', 'b']);
    disk.claim?.release();
    assert.deepEqual(held, []);
    const busy = await openDisk(concat(locked('a', true), locked('b', false)));
    assert.throws(() => busy.claim?.acquire(), /in use/);
    assert.deepEqual(held, []);
  });
});
