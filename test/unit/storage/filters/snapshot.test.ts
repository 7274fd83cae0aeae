/** The filter snapshot on real files: against models, over reopening, with files that are wrong. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type Disk,
  file,
  openAccess,
  openDisk,
  parseDisk,
  StorageError,
  type StorageErrorCode,
  snapshot,
} from '../../../../src/storage/index.ts';
import {
  dropSnapshot,
  listSnapshots,
  openSnapshot,
  rollBack,
  takeSnapshot,
} from '../../../../src/storage/tools.ts';
import { contentOf } from '../../../support/crash-load.ts';
import { compareWithModel } from '../../../support/filter-model.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { type Random, seededRandom } from '../../../support/power-loss.ts';

const SIZE_BYTES = 300 * 1024 + 512;
const MAX = 5;

interface Place {
  readonly base: string;
  readonly side: string;
  readonly content: Buffer;
}

function place(t: TestContext): Place {
  const folder = imageFolder(t);
  const base = join(folder, 'disk.img');
  const content = Buffer.alloc(SIZE_BYTES);
  for (let at = 0; at < SIZE_BYTES / 2; at++) content[at] = 1 + ((at >> 9) % 250);
  writeFileSync(base, content);
  return { base, side: join(folder, 'disk.snapshots'), content };
}

function isError(code: StorageErrorCode, message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof StorageError);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  };
}

async function write(disk: Disk, data: Uint8Array, offset: number): Promise<void> {
  const access = openAccess(disk);
  await access.write(data, offset);
  access.close();
}

/** Something with the snapshots of a disk, next to models of all of them. */
class SnapshotModels {
  readonly models = new Map<string, Buffer>();
  /** What is under way, while requests go on. */
  readonly pending = new Set<Promise<void>>();
  readonly done = { take: 0, drop: 0, back: 0, read: 0 };
  readonly #random: Random;
  #names = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  async step(disk: Disk, model: Buffer): Promise<void> {
    const kind = this.#random();
    const names = [...this.models.keys()];
    const name = names[Math.floor(this.#random() * names.length)];
    if (kind < 0.25 && names.length < MAX) {
      await this.settle();
      const next = `s${this.#names++}`;
      await takeSnapshot(disk, next);
      this.models.set(next, Buffer.from(model));
      this.done.take += 1;
    } else if (name === undefined) return;
    else if (kind < 0.4 && names.length > 2) {
      await this.settle();
      this.models.delete(name);
      this.#begin(dropSnapshot(disk, name));
      this.done.drop += 1;
    } else if (kind < 0.5) {
      await rollBack(disk, name);
      this.models.get(name)?.copy(model);
      this.done.back += 1;
    } else if (kind < 0.8) {
      this.#begin(this.#compare(disk, name));
      this.done.read += 1;
    }
  }

  #begin(task: Promise<void>): void {
    this.pending.add(task);
  }

  async settle(): Promise<void> {
    await Promise.all(this.pending);
    this.pending.clear();
  }

  async #compare(disk: Disk, name: string): Promise<void> {
    const view = openSnapshot(disk, name);
    const found = await contentOf(view);
    await view.close();
    const expected = this.models.get(name);
    assert.ok(expected?.equals(found), `the snapshot ${name} is another one`);
  }

  async check(disk: Disk): Promise<void> {
    await this.settle();
    const names = listSnapshots(disk).map(({ name }) => name);
    assert.deepEqual(names, [...this.models.keys()]);
    for (const name of names) await this.#compare(disk, name);
  }
}

for (const block of [4096, 16384]) {
  test(`the disk and its snapshots agree with models, blocks of ${block}, over reopening`, async (t) => {
    const { base, side, content } = place(t);
    const model = Buffer.from(content);
    const random = seededRandom(block);
    const models = new SnapshotModels(random);
    const plan = snapshot(file(base), { file: side, block, max: MAX });
    for (let round = 0; round < 8; round++) {
      const disk = await openDisk(plan);
      const onQuiet = (): Promise<void> => models.step(disk, model);
      await compareWithModel(disk, model, { random, batches: 30, keepsDiscarded: true, onQuiet });
      await models.check(disk);
      await disk.close();
      for (const [at, expected] of models.models) {
        const old = await openDisk(snapshot(file(base), { file: side, at }));
        assert.equal(old.info.readOnly, true);
        assert.ok(expected.equals(await contentOf(old)), `${at} opened by its name`);
        await old.close();
      }
    }
    assert.ok(readFileSync(base).equals(model), 'the disk below is what the guest has seen');
    for (const times of Object.values(models.done)) assert.ok(times > 5, `${times} times only`);
  });
}

test('a snapshot that is taken among requests has what was answered, and never changes', async (t) => {
  const { base, side } = place(t);
  const disk = await openDisk(snapshot(file(base), { file: side, block: 4096 }));
  const access = openAccess(disk);
  const sectors = Math.floor(SIZE_BYTES / 512);
  for (let round = 1; round <= 20; round++) {
    const before = await contentOf(disk);
    const writes: Promise<void>[] = [];
    const sector = Buffer.alloc(512, round);
    const submit = (first: number): void => {
      for (let at = first; at < sectors; at += 6)
        writes.push(Promise.resolve(access.write(sector, at * 512)));
    };
    submit(0);
    await Promise.all(writes);
    submit(1);
    const taken = takeSnapshot(disk, 'now');
    submit(2);
    await taken;
    const view = openSnapshot(disk, 'now');
    submit(3);
    const first = await contentOf(view);
    await Promise.all(writes);
    submit(4);
    const second = await contentOf(view);
    await Promise.all(writes);
    assert.ok(first.equals(second) && first.equals(await contentOf(view)), 'it does not change');
    for (let at = 0; at < sectors; at++) {
      const old = before[at * 512];
      const allowed = [[round], [old, round], [old, round], [old], [old], [old]][at % 6];
      assert.ok(allowed.includes(first[at * 512]), `round ${round}, sector ${at}`);
    }
    await assert.rejects(dropSnapshot(disk, 'now'), isError('DISK_IN_USE', /now is open/));
    await view.close();
    await dropSnapshot(disk, 'now');
  }
  access.close();
  await disk.close();
});

test('what is kept takes space once, and gives it back when it is dropped', async (t) => {
  const { base, side } = place(t);
  truncateSync(base, 2 ** 26);
  const disk = await openDisk(snapshot(file(base), { file: side }));
  const spaceBytes = (): number => statSync(side).blocks * 512;
  await write(disk, Buffer.alloc(2 ** 24, 7), 0);
  assert.ok(spaceBytes() < 2 ** 16, 'without snapshots nothing is kept');
  await takeSnapshot(disk, 'one');
  await write(disk, Buffer.alloc(2 ** 24, 8), 2 ** 25);
  assert.ok(spaceBytes() < 2 ** 17, 'zeros need no space');
  await write(disk, Buffer.alloc(2 ** 23, 8), 0);
  await write(disk, Buffer.alloc(2 ** 23, 9), 0);
  assert.ok(spaceBytes() >= 2 ** 23 && spaceBytes() < 2 ** 23 + 2 ** 18, `${spaceBytes()} bytes`);
  await takeSnapshot(disk, 'two');
  await write(disk, Buffer.alloc(2 ** 23, 5), 0);
  const kept = listSnapshots(disk).map(({ name, keptBytes }) => [name, keptBytes]);
  assert.deepEqual(kept, [
    ['one', 2 ** 23],
    ['two', 2 ** 23],
  ]);
  await dropSnapshot(disk, 'two');
  assert.ok(spaceBytes() < 2 ** 23 + 2 ** 18, `${spaceBytes()} bytes with one`);
  await dropSnapshot(disk, 'one');
  assert.ok(spaceBytes() < 2 ** 18, `${spaceBytes()} bytes with none`);
  await disk.close();
});

test('names that are wrong, taken, or not there are refused', async (t) => {
  const { base, side } = place(t);
  const disk = await openDisk(snapshot(file(base), { file: side, max: 2 }));
  for (const name of ['', 'a b', 'a/b', 'x'.repeat(65)]) {
    await assert.rejects(takeSnapshot(disk, name), isError('DISK_OPTION', /expected 1 to 64 let/));
  }
  await takeSnapshot(disk, 'a');
  await assert.rejects(takeSnapshot(disk, 'a'), isError('DISK_OPTION', /a snapshot a already/));
  await takeSnapshot(disk, 'b');
  await assert.rejects(takeSnapshot(disk, 'c'), isError('DISK_OPTION', /2 snapshots already/));
  const isMissing = isError('DISK_OPTION', /no snapshot "c", only: a, b/);
  for (const attempt of [dropSnapshot, rollBack, async () => openSnapshot(disk, 'c')]) {
    await assert.rejects(attempt(disk, 'c'), isMissing);
  }
  await disk.close();
  await assert.rejects(openDisk(snapshot(file(base), { file: side, at: 'c' })), isMissing);
  const readOnly = await openDisk(snapshot(file(base), { file: side }), { readOnly: true });
  assert.equal(listSnapshots(readOnly).length, 2);
  await assert.rejects(takeSnapshot(readOnly, 'd'), isError('DISK_OPTION', /read-only/));
  await readOnly.close();
  const other = await openDisk(file(base));
  assert.throws(() => listSnapshots(other), isError('DISK_OPTION', /the disk has no snapshots/));
  await other.close();
});

/** In a file with blocks of 4096: header, 2 entries, 2 maps, then what is kept. */
const DAMAGES: readonly [string, (file: Buffer) => Buffer, RegExp][] = [
  ['with a byte of its header changed', (file) => file.fill(99, 45, 46), /header is damaged/],
  ['that is something else', (file) => file.fill('qcow', 0, 4096), /no file of the filter/],
  ['with a name changed', (file) => file.fill(98, 4096 + 57, 4096 + 58), /list of snapshots/],
  ['with one twice', (file) => file.fill(file.subarray(4096, 8192), 8192, 12288), /two sna/],
  ['with an impossible block', (file) => file.fill(0x33, 12288, 12289), /table of blocks/],
  ['with blocks behind its end', (file) => file.fill(0x11, 12400, 12401), /table of blocks/],
  ['with other data', (file) => file.fill(99, 20480, 20992), /the snapshot a makes no sense/],
  ['that was truncated', (file) => file.subarray(0, file.length - 4096), /bytes in place of/],
  ['of no size to speak of', (file) => file.subarray(0, 512), /no file of the filter/],
];

for (const [name, damage, problem] of DAMAGES) {
  test(`a file ${name} is refused, and not changed`, async (t) => {
    const { base, side } = place(t);
    const plan = snapshot(file(base), { file: side, block: 4096, max: 2 });
    const disk = await openDisk(plan);
    await takeSnapshot(disk, 'a');
    await write(disk, Buffer.alloc(4096, 7), 0);
    await disk.close();
    const damaged = damage(readFileSync(side));
    writeFileSync(side, damaged);
    const before = readFileSync(base);
    for (const at of [undefined, 'a']) {
      const parameters = { file: side, ...(at === undefined ? {} : { at }) };
      const attempt = openDisk(snapshot(file(base), parameters));
      await assert.rejects(attempt, isError('DISK_FORMAT', problem));
      assert.ok(readFileSync(side).equals(damaged) && readFileSync(base).equals(before));
    }
  });
}

test('another disk, or one that was written without the filter, is refused', async (t) => {
  const { base, side } = place(t);
  const plan = snapshot(file(base), { file: side, block: 4096 });
  const disk = await openDisk(plan);
  await takeSnapshot(disk, 'a');
  await write(disk, Buffer.alloc(SIZE_BYTES / 2 - 256, 7), 0);
  await disk.close();
  await (await openDisk(plan)).close();
  const content = readFileSync(base);
  writeFileSync(base, Buffer.from(content).fill(3, SIZE_BYTES - 4608));
  await assert.rejects(openDisk(plan), isError('DISK_FORMAT', /another one, or was written with/));
  writeFileSync(base, content.subarray(512));
  await assert.rejects(openDisk(plan), isError('DISK_FORMAT', /its disk has \d+ bytes/));
  writeFileSync(base, content);
  await (await openDisk(plan)).close();
});

const REFUSALS: readonly [string, StorageErrorCode, RegExp][] = [
  ['block=4096', 'DISK_OPTION', /file/],
  ['file=s, block=5000', 'DISK_OPTION', /block is "5000": expected a power of two/],
  ['file=s, max=0', 'DISK_OPTION', /max is "0": expected a whole number from 1 to 64/],
  ['file=s, max=65', 'DISK_OPTION', /max is "65"/],
  ['file=/nowhere/at/all', 'DISK_OPEN_FAILED', /cannot make \/nowhere\/at\/all/],
  ['file=/nowhere/at/all, at=x', 'DISK_OPEN_FAILED', /nowhere/],
  ['file=/', 'DISK_NOT_A_FILE', /a directory/],
];

for (const [argument, code, problem] of REFUSALS) {
  test(`${argument} is refused`, async (t) => {
    const { base } = place(t);
    const attempt = async () => openDisk(parseDisk(`snapshot(file(${base}), ${argument})`));
    await assert.rejects(attempt, isError(code, problem));
  });
}

test('a file with other blocks, or other room, than asked for is refused', async (t) => {
  const { base, side } = place(t);
  await (await openDisk(snapshot(file(base), { file: side, block: 4096, max: 3 }))).close();
  for (const other of [{ block: 8192 }, { max: 4 }]) {
    const attempt = openDisk(snapshot(file(base), { file: side, ...other }));
    await assert.rejects(attempt, isError('DISK_OPTION', /leave it out/));
  }
  await (await openDisk(snapshot(file(base), { file: side }))).close();
});
