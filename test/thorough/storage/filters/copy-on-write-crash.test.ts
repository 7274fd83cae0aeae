/** Overlays after crashes: stopped after every write, with what was not flushed there or not. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { commitTo } from '../../../../src/storage/filters/copy-on-write/commit-overlay.ts';
import { CopyOnWriteObject } from '../../../../src/storage/filters/copy-on-write/copy-on-write-object.ts';
import { Overlay, overlayBytes } from '../../../../src/storage/filters/copy-on-write/overlay.ts';
import { bootIdentity } from '../../../../src/storage/filters/side-file/boot-identity.ts';
import type { DiskAccess } from '../../../../src/storage/index.ts';
import { ObjectDisk } from '../../../../src/storage/object/object-disk.ts';
import { contentOf, loadDisk } from '../../../support/crash-load.ts';
import { type Crash, CrashClock, CrashingDisk } from '../../../support/crashing-disk.ts';
import { type Random, seededRandom } from '../../../support/power-loss.ts';
import { FIRST_VALUE, type PromisedSectors, sectorsOf } from '../../../support/promised-sectors.ts';

const BLOCK_BYTES = 4096;
const DISK_BYTES = 11 * BLOCK_BYTES + 1024;
const OTHER_BOOT = randomBytes(16);
const SEEDS = 6;

interface World {
  readonly clock: CrashClock;
  readonly random: Random;
  readonly base: CrashingDisk;
  readonly side: CrashingDisk;
}

function world(random: Random, base?: Buffer, side?: Buffer, isBaseWritten = false): World {
  const clock = new CrashClock();
  const content = base ?? sectorsOf(FIRST_VALUE, DISK_BYTES / 512);
  const file = side ?? Buffer.alloc(overlayBytes(DISK_BYTES, BLOCK_BYTES));
  return {
    ...{ clock, random },
    base: new CrashingDisk(content, { clock, random, readOnly: !isBaseWritten }),
    side: new CrashingDisk(file, { clock, random }),
  };
}

async function open({ base, side }: World, boot?: Buffer): Promise<ObjectDisk> {
  const block = boot === undefined ? BLOCK_BYTES : undefined;
  const overlay = await Overlay.open(side, base, block, 'test', boot);
  return new ObjectDisk(new CopyOnWriteObject(base, overlay, 'test'), { needsOutside: undefined });
}

async function flush(disk: ObjectDisk): Promise<void> {
  const access = disk.openAccess();
  await access.flush();
  access.close();
}

/** What is left at each moment is opened again, as what comes after such a crash would. */
async function checkMoments(
  before: World,
  promised: PromisedSectors,
  crash: Crash,
  from: number,
): Promise<number> {
  let sure = 0;
  for (let moment = from; moment <= before.clock.now; moment++) {
    const left = world(before.random, before.base.content, before.side.imageAt(moment, crash));
    const disk = await open(left, crash === 'power' ? OTHER_BOOT : bootIdentity());
    sure += promised.check(await contentOf(disk), moment);
  }
  return sure;
}

for (const crash of ['power', 'process'] as const) {
  test(`an overlay keeps what it has promised when the ${crash} ends at any moment`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const before = world(random);
      const disk = await open(before);
      const opened = before.clock.now;
      const { clock } = before;
      const options = { clock, random, requests: 25, maxSectors: 30, isProcessSafe: true };
      const promised = await loadDisk(disk, options);
      const sure = await checkMoments(before, promised[crash], crash, opened);
      assert(sure > 1000, `${sure} sectors had to have one value: too few to show anything`);
    }
  });
}

test('an overlay that was left by a crash goes on from there, crash after crash', async () => {
  const random = seededRandom(99);
  const base = sectorsOf(FIRST_VALUE, DISK_BYTES / 512);
  let current = world(random, base);
  let expected = base;
  for (let round = 0; round < 40; round++) {
    const crash: Crash = random() < 0.5 ? 'power' : 'process';
    const disk = await open(current);
    const { clock } = current;
    // What the last round has left may be gone else when the power is.
    await flush(disk);
    const opened = clock.now;
    const firstValue = 2 + 100 * round;
    const load = { requests: 12, maxSectors: 30, isProcessSafe: true, firstValue };
    const promised = await loadDisk(disk, { clock, random, ...load });
    const moment = opened + Math.floor(random() * (clock.now - opened));
    const left = world(random, base, current.side.imageAt(moment, crash));
    // A crash of the machine is followed by another run of it, and that by the usual one.
    const found = await contentOf(await open(left, crash === 'power' ? OTHER_BOOT : undefined));
    promised[crash].check(found, moment, expected);
    current = world(random, base, left.side.content);
    expected = await contentOf(await open(current));
    assert(expected.equals(found), `round ${round}`);
    current = world(random, base, current.side.content);
  }
});

test('a commit that is stopped at any moment can be done again, and nothing is lost', async () => {
  const random = seededRandom(7);
  const written = world(random);
  const disk = await open(written);
  const { clock } = written;
  await loadDisk(disk, { clock, random, requests: 30, maxSectors: 30, isProcessSafe: true });
  await disk.close();
  const expected = await contentOf(await open(written));
  const before = world(random, written.base.content, written.side.content, true);
  const commit = async ({ base, side }: World, boot?: Buffer): Promise<void> => {
    await commitTo(base, await Overlay.open(side, base, undefined, 'test', boot), () => {});
  };
  await commit(before);
  assert(before.base.content.equals(expected), 'the base is what the guest has seen');
  assert(!written.base.content.equals(expected), 'the overlay had something to commit');
  for (let moment = 1; moment <= before.clock.now; moment++) {
    const base = before.base.imageAt(moment, 'power');
    const side = before.side.imageAt(moment, 'power');
    const left = world(random, base, side, true);
    const seen = await contentOf(await open(left, OTHER_BOOT));
    assert(seen.equals(expected), `moment ${moment}: the disk with its overlay`);
    await commit(left, OTHER_BOOT);
    assert(left.base.content.equals(expected), `moment ${moment}: the base, committed again`);
    const empty = await Overlay.open(left.side, left.base, undefined, 'test');
    assert.deepEqual(empty.map.count(), { data: 0, zero: 0 });
    assert.equal(empty.isCommitting, false);
  }
});

test('the base is only read', async () => {
  const random = seededRandom(3);
  const before = world(random);
  const disk = await open(before);
  const { clock } = before;
  await loadDisk(disk, { clock, random, requests: 40, maxSectors: 30, isProcessSafe: true });
  const base: DiskAccess = before.base;
  assert.equal(base.info.readOnly, true);
  assert.equal(before.base.writes, 0);
});
