/** The filter checksum: what it finds, and that it finds nothing where nothing is wrong. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  checksumFileBytes,
  openChecksums,
} from '../../../../src/storage/filters/checksum/checksum-file.ts';
import { ChecksumObject } from '../../../../src/storage/filters/checksum/checksum-object.ts';
import {
  cache,
  checksum,
  type DiskAccess,
  file,
  openAccess,
  openDisk,
  parseDisk,
  type StorageError,
} from '../../../../src/storage/index.ts';
import { ObjectDisk } from '../../../../src/storage/object/object-disk.ts';
import { checksumStatistics, scanChecksums } from '../../../../src/storage/tools.ts';
import { silentLogger } from '../../../../src/sys/index.ts';
import { contentOf, loadDisk } from '../../../support/crash-load.ts';
import { CrashClock, CrashingDisk } from '../../../support/crashing-disk.ts';
import { compareWithModel } from '../../../support/filter-model.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { type Random, seededRandom } from '../../../support/power-loss.ts';
import { FIRST_VALUE, sectorsOf } from '../../../support/promised-sectors.ts';

const BLOCK_BYTES = 4096;
const DISK_BYTES = 9 * BLOCK_BYTES + 1024;

interface World {
  readonly clock: CrashClock;
  readonly below: CrashingDisk;
  readonly side: CrashingDisk;
}

function world(random: Random, below?: Buffer, side?: Buffer, diskBytes = DISK_BYTES): World {
  const clock = new CrashClock();
  const content = below ?? sectorsOf(FIRST_VALUE, diskBytes / 512);
  const table = side ?? Buffer.alloc(checksumFileBytes(diskBytes, BLOCK_BYTES));
  return {
    clock,
    below: new CrashingDisk(content, { clock, random }),
    side: new CrashingDisk(table, { clock, random }),
  };
}

async function open({ side, below }: World, quietMs = 0, maxPages = 16): Promise<ObjectDisk> {
  const parts = await openChecksums(side, below, { path: 'test', quietMs, maxPages });
  return new ObjectDisk(new ChecksumObject(parts, 'checksum'), { needsOutside: undefined });
}

for (const crash of ['power', 'process'] as const) {
  test(`there is no false alarm when the ${crash} ends at any moment`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = seededRandom(seed);
      const before = world(random);
      const disk = await open(before);
      await scanChecksums(disk);
      await disk.close();
      const { clock } = before;
      const opened = clock.now;
      const again = await open(before);
      const load = { requests: 30, maxSectors: 30, isProcessSafe: true };
      const promised = await loadDisk(again, { clock, random, ...load });
      let sure = 0;
      for (let moment = opened; moment <= clock.now; moment++) {
        const images = [before.below, before.side].map((each) => each.imageAt(moment, crash));
        const left = await open(world(random, images[0], images[1]));
        sure += promised[crash].check(await contentOf(left), moment);
        assert.deepEqual(await scanChecksums(left), []);
        assert.equal(checksumStatistics(left)?.doubtfulRegions, 0);
      }
      assert(sure > 100, `${sure} sectors had to have one value: too few to show anything`);
    }
  });
}

test('after an orderly end each block that changes by itself is found, however it is read', async () => {
  const random = seededRandom(2);
  const before = world(random);
  const disk = await open(before);
  const { clock } = before;
  await loadDisk(disk, { clock, random, requests: 60, maxSectors: 30, isProcessSafe: true });
  await scanChecksums(disk);
  await disk.close();
  for (let at = 0; at < DISK_BYTES; at += 1000) {
    const content = Buffer.from(before.below.content);
    content[at] ^= 1 << (at % 8);
    const left = world(random, content, before.side.content);
    const corrupt = await open(left);
    const lines: string[] = [];
    corrupt.useLogger({ ...silentLogger, error: (line) => void lines.push(line) });
    const access = openAccess(corrupt);
    const block = Math.floor(at / BLOCK_BYTES);
    const start = block * BLOCK_BYTES;
    const isCorrupt = { code: 'EILSEQ' };
    await assert.rejects(async () => access.read(Buffer.alloc(512), start + 512), isCorrupt);
    await assert.rejects(async () => access.read(Buffer.alloc(DISK_BYTES), 0), isCorrupt);
    await assert.rejects(async () => access.write(Buffer.alloc(512), start + 512), isCorrupt);
    const found = await scanChecksums(corrupt);
    assert.deepEqual(
      found.map(({ offset }) => offset),
      [start],
    );
    assert(
      lines[0].includes(`block ${block} (4096 bytes at offset ${start}) is corrupt`),
      lines[0],
    );
    // Written as a whole it is well again.
    const length = Math.min(BLOCK_BYTES, DISK_BYTES - start);
    await access.write(Buffer.alloc(length, 5), start);
    assert.deepEqual(await scanChecksums(corrupt), []);
  }
});

test('blocks that were never written are not known until they are, or a scan has read them', async () => {
  const before = world(seededRandom(3));
  const disk = await open(before);
  const access = openAccess(disk);
  const flip = (offset: number): void => {
    before.below.content[offset] ^= 1;
  };
  await access.write(Buffer.alloc(512, 1), BLOCK_BYTES);
  flip(0);
  await access.read(Buffer.alloc(BLOCK_BYTES), 0);
  flip(BLOCK_BYTES + 100);
  const read = async (block: number): Promise<void> =>
    access.read(Buffer.alloc(BLOCK_BYTES), block * BLOCK_BYTES);
  await assert.rejects(() => read(1), { code: 'EILSEQ' });
  flip(BLOCK_BYTES + 100);
  await read(1);
  assert.deepEqual(await scanChecksums(disk), []);
  flip(100);
  await assert.rejects(() => read(0), { code: 'EILSEQ' });
});

test('random requests agree with the model, with little of the table in memory', async () => {
  const diskBytes = 12 * 2 ** 20 + 512;
  for (let seed = 1; seed <= 3; seed++) {
    const random = seededRandom(seed);
    const before = world(random, undefined, undefined, diskBytes);
    const disk = await open(before, 0, 1);
    const model = Buffer.from(before.below.content);
    await scanChecksums(disk);
    const options = { random, batches: 150, maxSectors: 60, keepsDiscarded: true };
    await compareWithModel(disk, model, options);
    assert.equal(checksumStatistics(disk)?.corrupt, 0);
    await disk.close();
    const again = await open(before);
    assert.equal(checksumStatistics(again)?.doubtfulRegions, 0);
    assert.ok((await contentOf(again)).equals(model));
  }
});

test('a write that fails leaves no checksum that is wrong', async () => {
  const before = world(seededRandom(4));
  const disk = await open(before);
  const access = openAccess(disk);
  await access.write(Buffer.alloc(BLOCK_BYTES, 1), 0);
  before.below.fault = (operation) => {
    if (operation === 'write') throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  const write = async (length: number): Promise<void> => access.write(Buffer.alloc(length, 2), 0);
  await assert.rejects(() => write(BLOCK_BYTES), { code: 'ENOSPC' });
  await assert.rejects(() => write(512), { code: 'ENOSPC' });
  // As a disk that has written a part of it.
  before.below.content.fill(2, 0, 1024);
  await access.read(Buffer.alloc(BLOCK_BYTES), 0);
});

function image(t: TestContext): { path: string; sums: string } {
  const path = join(imageFolder(t), 'disk.img');
  writeFileSync(path, sectorsOf(FIRST_VALUE, DISK_BYTES / 512));
  return { path, sums: `${path}.sums` };
}

async function write(plan: Parameters<typeof openDisk>[0], data: Buffer): Promise<void> {
  const disk = await openDisk(plan);
  const access: DiskAccess = openAccess(disk);
  await access.write(data, 0);
  access.close();
  await disk.close();
}

test('files: over reopening, below a cache, and read only', async (t) => {
  const { path, sums } = image(t);
  const plan = cache(checksum(file(path), { file: sums }), { size: 2 ** 20, mode: 'write-back' });
  const model = readFileSync(path);
  const random = seededRandom(5);
  for (let round = 0; round < 4; round++) {
    const disk = await openDisk(plan);
    await compareWithModel(disk, model, { random, batches: 40, keepsDiscarded: true });
    await scanChecksums(disk);
    await disk.close();
  }
  const before = readFileSync(sums);
  const corrupt = Buffer.from(model);
  corrupt[5000] ^= 4;
  writeFileSync(path, corrupt);
  const disk = await openDisk(checksum(file(path), { file: sums }), { readOnly: true });
  assert.deepEqual(
    (await scanChecksums(disk)).map(({ offset }) => offset),
    [4096],
  );
  await disk.close();
  assert.ok(readFileSync(sums).equals(before));
});

const DAMAGES: readonly [string, (file: Buffer) => Buffer, RegExp][] = [
  ['with a byte of its header changed', (found) => found.fill(9, 45, 46), /header is damaged/],
  ['that is something else', (found) => found.fill('x', 0, 4096), /no file of the filter/],
  ['that was truncated', (found) => found.subarray(0, found.length - 512), /bytes in place of/],
];

for (const [name, damage, problem] of DAMAGES) {
  test(`a file ${name} is refused, and not changed`, async (t) => {
    const { path, sums } = image(t);
    const plan = checksum(file(path), { file: sums });
    await write(plan, Buffer.alloc(512));
    const damaged = damage(readFileSync(sums));
    writeFileSync(sums, damaged);
    await assert.rejects(openDisk(plan), (error: StorageError) => {
      return error.code === 'DISK_FORMAT' && problem.test(error.message);
    });
    assert.ok(readFileSync(sums).equals(damaged));
  });
}

test('a file of another disk, or with other blocks, is refused', async (t) => {
  const { path, sums } = image(t);
  await write(checksum(file(path), { file: sums }), Buffer.alloc(512));
  const other = openDisk(checksum(file(path), { file: sums, block: 8192 }));
  await assert.rejects(other, { code: 'DISK_OPTION' });
  writeFileSync(path, Buffer.alloc(8192));
  await assert.rejects(openDisk(checksum(file(path), { file: sums })), { code: 'DISK_FORMAT' });
  assert.throws(() => parseDisk(`checksum(file(${path}))`), /parameter "file=<path>" is missing/);
});
