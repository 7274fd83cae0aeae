/** Snapshots after crashes and faults: stopped after every write and every flush. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import {
  drop,
  take,
  writeBack,
} from '../../../../src/storage/filters/snapshot/change-snapshots.ts';
import { openSnapshotObject } from '../../../../src/storage/filters/snapshot/open-snapshot.ts';
import { SnapshotState } from '../../../../src/storage/filters/snapshot/snapshot-entry.ts';
import {
  newLayout,
  SnapshotFile,
  snapshotFileBytes,
} from '../../../../src/storage/filters/snapshot/snapshot-file.ts';
import { SnapshotObject } from '../../../../src/storage/filters/snapshot/snapshot-object.ts';
import { ObjectDisk } from '../../../../src/storage/object/object-disk.ts';
import { listSnapshots, openSnapshot } from '../../../../src/storage/tools.ts';
import { contentOf, loadDisk } from '../../../support/crash-load.ts';
import { type Crash, CrashClock, CrashingDisk, ioError } from '../../../support/crashing-disk.ts';
import { type Random, seededRandom } from '../../../support/power-loss.ts';
import { FIRST_VALUE, type PromisedSectors, sectorsOf } from '../../../support/promised-sectors.ts';

const BLOCK_BYTES = 4096;
const DISK_BYTES = 11 * BLOCK_BYTES + 1024;
const CHOICE = { block: BLOCK_BYTES, max: 4 };
const OTHER_BOOT = randomBytes(16);
const SEEDS = 2;

interface World {
  readonly clock: CrashClock;
  readonly random: Random;
  readonly base: CrashingDisk;
  readonly side: CrashingDisk;
}

function world(random: Random, base?: Buffer, side?: Buffer): World {
  const clock = new CrashClock();
  const content = base ?? sectorsOf(FIRST_VALUE, DISK_BYTES / 512);
  const disk = new CrashingDisk(content, { clock, random });
  const file = side ?? Buffer.alloc(snapshotFileBytes(newLayout(disk, CHOICE)));
  return { clock, random, base: disk, side: new CrashingDisk(file, { clock, random }) };
}

interface Opened {
  readonly disk: ObjectDisk;
  readonly object: SnapshotObject;
}

async function open({ base, side }: World, boot?: Buffer): Promise<Opened> {
  const file = await SnapshotFile.open(side, base, CHOICE, 'test', boot);
  const object = new SnapshotObject(base, file);
  await openSnapshotObject(object);
  return { disk: new ObjectDisk(object, { needsOutside: undefined }), object };
}

/** A snapshot, and when it had to be there. */
interface Taken {
  readonly name: string;
  readonly content: Buffer;
  readonly takeBegan: number;
  takeEnded: number;
  dropBegan: number;
  dropEnded: number;
}

/** Requests on the disk, and what it held when they began: that was safe. */
interface Load {
  readonly from: number;
  readonly to: number;
  readonly before: Buffer;
  readonly promised: Record<Crash, PromisedSectors>;
}

interface Story {
  readonly snapshots: Taken[];
  readonly loads: Load[];
}

async function tell(here: World): Promise<Story> {
  const { clock, random, base } = here;
  const { disk, object } = await open(here);
  const story: Story = { snapshots: [], loads: [] };
  const there: Taken[] = [];
  const access = disk.openAccess();
  const load = async (round: number, during: () => Promise<void>): Promise<void> => {
    await access.flush();
    const before = Buffer.from(base.content);
    const from = clock.tick();
    const firstValue = 2 + 100 * round;
    const options = { clock, random, requests: 10, maxSectors: 24, firstValue };
    const [promised] = await Promise.all([
      loadDisk(disk, { ...options, isProcessSafe: true }),
      during(),
    ]);
    story.loads.push({ from, to: clock.tick(), before, promised });
  };
  for (let round = 0; round < 6; round++) {
    const never = Number.POSITIVE_INFINITY;
    const ends = { takeEnded: never, dropBegan: never, dropEnded: never };
    const content = Buffer.from(base.content);
    const taken: Taken = { name: `s${round}`, content, takeBegan: clock.tick(), ...ends };
    story.snapshots.push(taken);
    await take(object, taken.name);
    taken.takeEnded = clock.tick();
    there.push(taken);
    await load(round, async () => {
      if (there.length < 3) return;
      const [dropped] = there.splice(Math.floor(random() * there.length), 1);
      dropped.dropBegan = clock.tick();
      await drop(object, dropped.name);
      dropped.dropEnded = clock.tick();
    });
    if (round === 3) {
      await writeBack(object, there[0].name, access);
      assert.ok(base.content.equals(there[0].content), 'rolled back');
    }
  }
  return story;
}

/** Returns how many snapshots were compared. */
async function checkSnapshots(opened: Opened, story: Story, moment: number): Promise<number> {
  const { snapshots } = opened.object.file;
  const isDropping = snapshots.some(({ state }) => state === SnapshotState.DROPPING);
  assert.ok(!isDropping, `moment ${moment}: a drop has not gone on`);
  const names = listSnapshots(opened.disk).map(({ name }) => name);
  for (const taken of story.snapshots) {
    const { name, content, takeBegan, takeEnded, dropBegan, dropEnded } = taken;
    const about = `moment ${moment}: ${JSON.stringify({ ...taken, content: undefined })}`;
    if (!names.includes(name)) {
      assert.ok(moment < takeEnded || moment >= dropBegan, `${about} is not there`);
      continue;
    }
    assert.ok(moment >= takeBegan && moment < dropEnded, `${about} is there`);
    const view = openSnapshot(opened.disk, name);
    assert.ok(content.equals(await contentOf(view)), `${about} is another one`);
    await view.close();
  }
  return names.length;
}

/** What is kept when the disk has been opened is safe by then: it may be overwritten at once. */
async function checkSafe({ base, side, clock, random }: World, { object }: Opened): Promise<void> {
  const left = world(random, base.content, side.imageAt(clock.now, 'power'));
  const after = await SnapshotFile.open(left.side, left.base, CHOICE, 'test', OTHER_BOOT);
  const kept = ({ snapshots }: SnapshotFile) => snapshots.map(({ area }) => area.map.count());
  assert.deepEqual(kept(after), kept(object.file));
}

for (const crash of ['power', 'process'] as const) {
  test(`the disk and its snapshots are right when the ${crash} ends at any moment`, async () => {
    let [sure, compared] = [0, 0];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const before = world(random);
      const story = await tell(before);
      for (let moment = 1; moment <= before.clock.now; moment++) {
        const base = before.base.imageAt(moment, crash);
        const left = world(random, base, before.side.imageAt(moment, crash));
        const opened = await open(left, crash === 'power' ? OTHER_BOOT : undefined);
        compared += await checkSnapshots(opened, story, moment);
        const load = story.loads.find(({ from, to }) => from <= moment && moment <= to);
        const content = await contentOf(opened.disk);
        sure += load?.promised[crash].check(content, moment, load.before) ?? 0;
        await checkSafe(left, opened);
        if (moment % 3 !== 0) continue;
        // It goes on from there: also with the place of a snapshot that was being dropped.
        if (opened.object.file.freeSlot() !== undefined) {
          await take(opened.object, 'next');
          const view = openSnapshot(opened.disk, 'next');
          assert.ok(content.equals(await contentOf(view)), `moment ${moment}: the next one`);
        }
        const { clock } = left;
        const options = { clock, random, requests: 6, maxSectors: 24, isProcessSafe: true };
        await loadDisk(opened.disk, options);
        const later = 1 + Math.floor(random() * clock.now);
        const second = world(
          random,
          left.base.imageAt(later, 'power'),
          left.side.imageAt(later, 'power'),
        );
        compared += await checkSnapshots(await open(second, randomBytes(16)), story, moment);
      }
    }
    assert.ok(sure > 1000 && compared > 1000, `${sure} sectors, ${compared} snapshots: too few`);
  });
}

for (const operation of ['write', 'flush'] as const) {
  test(`a ${operation} that fails in the side file: nothing is overwritten`, async () => {
    const random = seededRandom(5);
    const here = world(random);
    const { disk, object } = await open(here);
    const access = disk.openAccess();
    const first = Buffer.from(here.base.content);
    await take(object, 'a');
    let failures = 0;
    for (let failing = 0; failing < 2; failing++) {
      let count = 0;
      here.side.fault = (kind) => {
        if (kind === operation && count++ === failing) throw ioError();
      };
      const old = Buffer.from(here.base.content);
      const attempt = access.write(sectorsOf(9, 1), 3 * failing * BLOCK_BYTES);
      await assert.rejects(Promise.resolve(attempt), { code: 'EIO' });
      failures += 1;
      assert.ok(here.base.content.equals(old), 'the disk is as it was');
      here.side.fault = () => {};
      // The next one does not take for safe what the one before has not made safe.
      await access.write(sectorsOf(9, 1), 3 * failing * BLOCK_BYTES);
      await access.flush();
      for (let time = 0; time < 10; time++) {
        const now = here.clock.now;
        const left = world(
          random,
          here.base.imageAt(now, 'power'),
          here.side.imageAt(now, 'power'),
        );
        const view = openSnapshot((await open(left, OTHER_BOOT)).disk, 'a');
        assert.ok((await contentOf(view)).equals(first), 'the snapshot is as it was');
      }
    }
    assert.equal(failures, 2);
  });
}

/** Requests of one kind wait until they may go on. */
function hold(disk: CrashingDisk, method: 'read' | 'flush') {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const original = disk[method].bind(disk) as (...parameters: unknown[]) => Promise<void>;
  const held = async (...parameters: unknown[]): Promise<void> => {
    // Only the first one.
    Object.assign(disk, { [method]: original });
    begin();
    await released;
    await original(...parameters);
  };
  Object.assign(disk, { [method]: held });
  return { begun, release };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('a block that is being kept is not overwritten before that is safe, by nobody', async () => {
  const here = world(seededRandom(6));
  const { disk, object } = await open(here);
  await take(object, 'a');
  const access = disk.openAccess();
  const { begun, release } = hold(here.side, 'flush');
  const first = access.write(sectorsOf(9, 1), 0);
  await begun;
  const second = access.write(sectorsOf(9, 1), 1024);
  await turns();
  assert.equal(here.base.writes, 0);
  release();
  await Promise.all([first, second]);
  assert.equal(here.base.writes, 2);
});

test('a flush is for those only who have asked before it began', async () => {
  const here = world(seededRandom(7));
  const { disk, object } = await open(here);
  await take(object, 'a');
  const access = disk.openAccess();
  const { begun, release } = hold(here.side, 'flush');
  const first = access.write(sectorsOf(9, 1), 0);
  await begun;
  const later = access.write(sectorsOf(9, 1), 2 * BLOCK_BYTES);
  await turns();
  const flushes = here.side.flushes;
  release();
  await Promise.all([first, later]);
  // Each has its data flushed, and then its map.
  assert.equal(here.side.flushes - flushes, 4);
});

test('what is overwritten while a snapshot reads it is read as it was', async () => {
  const here = world(seededRandom(8));
  const { disk, object } = await open(here);
  await take(object, 'a');
  const access = disk.openAccess();
  const old = Buffer.from(here.base.content);
  const { begun, release } = hold(here.base, 'read');
  const reading = contentOf(openSnapshot(disk, 'a'));
  await begun;
  await access.write(sectorsOf(9, 20), 1024);
  assert.ok(!here.base.content.equals(old));
  release();
  assert.ok((await reading).equals(old));
});

test('what is dropped is there until those who read it for an older snapshot have it', async () => {
  const here = world(seededRandom(9));
  const { disk, object } = await open(here);
  await take(object, 'a');
  const old = Buffer.from(here.base.content);
  await take(object, 'b');
  const access = disk.openAccess();
  // Kept of b; a has it there, too.
  await access.write(sectorsOf(9, 8), 0);
  const moving = hold(here.side, 'read');
  const dropped = drop(object, 'b');
  let isDropped = false;
  void dropped.then(() => {
    isDropped = true;
  });
  await moving.begun;
  const reading = hold(here.side, 'read');
  const content = contentOf(openSnapshot(disk, 'a'));
  await reading.begun;
  moving.release();
  await turns();
  assert.ok(!isDropped, 'it waits for the reader');
  reading.release();
  assert.ok((await content).equals(old), 'the older snapshot is as it was');
  await dropped;
  assert.ok((await contentOf(openSnapshot(disk, 'a'))).equals(old), 'and later on');
});
