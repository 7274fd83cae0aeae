/** The filter cache: against a model, what reaches the disk below, and what fails there. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  CacheObject,
  type CacheOptions,
} from '../../../../src/storage/filters/cache/cache-object.ts';
import {
  cache,
  copyOnWrite,
  type DiskAccess,
  error,
  file,
  memory,
  openAccess,
  openDisk,
  parseDisk,
  type StorageError,
} from '../../../../src/storage/index.ts';
import { ObjectDisk } from '../../../../src/storage/object/object-disk.ts';
import { cacheStatistics } from '../../../../src/storage/tools.ts';
import { silentLogger } from '../../../../src/sys/index.ts';
import { loadDisk } from '../../../support/crash-load.ts';
import { CrashClock, CrashingDisk, ioError } from '../../../support/crashing-disk.ts';
import { eventually } from '../../../support/eventually.ts';
import { compareWithModel } from '../../../support/filter-model.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { LoopGuard } from '../../../support/loop-guard.ts';
import { seededRandom } from '../../../support/power-loss.ts';
import { FIRST_VALUE, sectorsOf } from '../../../support/promised-sectors.ts';

const BLOCK_BYTES = 4096;
const DISK_BYTES = 200 * BLOCK_BYTES + 1536;
const MODES = ['write-through', 'write-back'] as const;

interface Cached {
  readonly clock: CrashClock;
  readonly below: CrashingDisk;
  readonly object: CacheObject;
  readonly disk: ObjectDisk;
  readonly access: DiskAccess;
}

function cached(options: Partial<CacheOptions> = {}, seed = 1, diskBytes = DISK_BYTES): Cached {
  const clock = new CrashClock();
  const content = sectorsOf(FIRST_VALUE, diskBytes / 512);
  const below = new CrashingDisk(content, { clock, random: seededRandom(seed) });
  const object = new CacheObject(
    below,
    {
      ...{ sizeBytes: 64 * BLOCK_BYTES, blockBytes: BLOCK_BYTES, mode: 'write-back' },
      ...{ readAheadBytes: 0, intervalMs: 0 },
      ...options,
    },
    'cache',
  );
  const disk = new ObjectDisk(object, { needsOutside: undefined });
  return { clock, below, object, disk, access: openAccess(disk) };
}

for (const mode of MODES) {
  for (const [name, blocks] of [
    ['small', 16],
    ['large', 1000],
  ] as const) {
    test(`${mode}: random requests over a ${name} cache agree with the model`, async () => {
      for (let seed = 1; seed <= 6; seed++) {
        const readAheadBytes = seed % 2 === 0 ? 0 : 8 * BLOCK_BYTES;
        const sizeBytes = blocks * BLOCK_BYTES;
        const { below, disk } = cached({ mode, sizeBytes, readAheadBytes }, seed);
        const model = Buffer.from(below.content);
        const random = seededRandom(1000 + seed);
        await compareWithModel(disk, model, { random, batches: 150, maxSectors: 120 });
        await disk.close();
        assert.ok(below.content.equals(model), 'all is below when it is closed');
      }
    });
  }
}

test('what was flushed is there when the power goes at any moment, in both modes', async () => {
  for (const mode of MODES) {
    for (let seed = 1; seed <= 3; seed++) {
      const random = seededRandom(seed);
      const { clock, below, disk } = cached(
        { mode, sizeBytes: 16 * BLOCK_BYTES },
        seed,
        24 * BLOCK_BYTES,
      );
      const load = { requests: 60, maxSectors: 40, isProcessSafe: mode === 'write-through' };
      const promised = await loadDisk(disk, { clock, random, ...load });
      let sure = 0;
      for (let moment = 0; moment <= clock.now; moment++) {
        sure += promised.power.check(below.imageAt(moment, 'power'), moment);
        promised.process.check(below.imageAt(moment, 'process'), moment);
      }
      assert(sure > 1000, `${sure} sectors had to have one value: too few to show anything`);
    }
  }
});

test('a second read comes from memory, and neighbours come with one read', async () => {
  const { below, disk, access } = cached();
  const buffer = new Uint8Array(8 * BLOCK_BYTES);
  await access.read(buffer, BLOCK_BYTES);
  assert.equal(below.reads, 1);
  assert.equal(access.read(buffer, BLOCK_BYTES), undefined, 'on the spot');
  assert.equal(below.reads, 1);
  const statistics = cacheStatistics(disk);
  assert.equal(statistics?.readBytes, 16 * BLOCK_BYTES);
  assert.equal(statistics?.hitBytes, 8 * BLOCK_BYTES);
  assert.equal(statistics?.fetchedBytes, 8 * BLOCK_BYTES);
});

test('readers that miss the same block share one read', async () => {
  const { below, access } = cached();
  const reads = Array.from({ length: 8 }, (_, index) => {
    const buffer = new Uint8Array(512);
    return Promise.resolve(access.read(buffer, index * 512)).then(() => buffer);
  });
  for (const buffer of await Promise.all(reads)) assert.equal(buffer[0], FIRST_VALUE);
  assert.equal(below.reads, 1);
});

test('the block that was not used for longest goes first', async () => {
  const { below, access } = cached({ sizeBytes: 16 * BLOCK_BYTES });
  const buffer = new Uint8Array(BLOCK_BYTES);
  const read = async (block: number): Promise<number> => {
    const before = below.reads;
    await access.read(buffer, block * BLOCK_BYTES);
    return below.reads - before;
  };
  for (let block = 0; block < 16; block++) await read(block);
  assert.equal(await read(0), 0);
  assert.equal(await read(16), 1);
  assert.equal(await read(0), 0, 'used again since');
  assert.equal(await read(1), 1, 'gone');
});

test('writes of whole sectors read nothing, and reach the disk together', async () => {
  const { below, access } = cached();
  for (let sector = 0; sector < 64; sector++) {
    assert.equal(access.write(Buffer.alloc(512, 9), sector * 512), undefined, 'on the spot');
  }
  assert.equal(below.writes, 0);
  await access.flush();
  assert.equal(below.reads, 0);
  assert.equal(below.writes, 1);
  assert.equal(below.writtenBytes, 64 * 512);
  assert.equal(below.flushes, 1);
});

test('write-through: a write is below when it is answered, and a failed one is not in memory', async () => {
  const { below, access } = cached({ mode: 'write-through' });
  await access.write(Buffer.alloc(512, 9), 0);
  assert.equal(below.content[0], 9);
  below.fault = (operation) => {
    if (operation === 'write') throw ioError();
  };
  await assert.rejects(async () => access.write(Buffer.alloc(512, 8), 0), { code: 'EIO' });
  const buffer = new Uint8Array(512);
  await access.read(buffer, 0);
  assert.equal(buffer[0], 9);
});

test('a reader waits in vain if the disk below fails, the next one does not', async () => {
  const { below, access } = cached();
  below.fault = () => {
    below.fault = () => {};
    throw ioError();
  };
  const buffers = [new Uint8Array(512), new Uint8Array(512)];
  const results = await Promise.allSettled(
    buffers.map(async (buffer, index) => access.read(buffer, index * 512)),
  );
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  );
  assert.equal(buffers[1][0], FIRST_VALUE);
});

test('reads that fail on the spot, one that reads ahead among them, keep nobody waiting', async () => {
  using _ = new LoopGuard('reads that fail on the spot');
  const faults = error(memory(2 ** 20), { on: ['read'], count: 4 });
  const readAhead = 4 * BLOCK_BYTES;
  const disk = await openDisk(cache(faults, { size: 2 ** 20, block: BLOCK_BYTES, readAhead }));
  const access = openAccess(disk);
  const read = async (block: number): Promise<void> => {
    await access.read(new Uint8Array(BLOCK_BYTES), block * BLOCK_BYTES);
  };
  // The second of them goes on where the first has ended: what is behind it is read, too.
  await assert.rejects(read(0), { code: 'EIO' });
  await assert.rejects(read(1), { code: 'EIO' });
  await assert.rejects(read(0), { code: 'EIO' });
  await read(0);
  await read(2);
  access.close();
  await disk.close();
});

test('what cannot be written back is reported by flushes until it can, and is not lost', async () => {
  const { below, access } = cached();
  await access.write(Buffer.alloc(4 * BLOCK_BYTES, 9), 0);
  below.fault = (operation) => {
    if (operation === 'write') throw ioError();
  };
  for (let attempt = 0; attempt < 3; attempt++) {
    await assert.rejects(async () => access.flush(), { code: 'EIO' });
  }
  const buffer = new Uint8Array(4 * BLOCK_BYTES);
  await access.read(buffer, 0);
  assert.ok(buffer.every((byte) => byte === 9));
  below.fault = () => {};
  await access.flush();
  assert.ok(below.content.subarray(0, 4 * BLOCK_BYTES).every((byte) => byte === 9));
});

test('a cache full of what cannot be written refuses writes, and goes on reading', async () => {
  const { below, access } = cached({ sizeBytes: 16 * BLOCK_BYTES });
  below.fault = (operation) => {
    if (operation === 'write') throw ioError();
  };
  const write = async (block: number): Promise<void> => {
    await access.write(Buffer.alloc(BLOCK_BYTES, 9), block * BLOCK_BYTES);
  };
  for (let block = 0; block < 12; block++) await write(block);
  await assert.rejects(() => write(12), { code: 'EIO' });
  const buffer = new Uint8Array(BLOCK_BYTES);
  for (let block = 50; block < 70; block++) await access.read(buffer, block * BLOCK_BYTES);
  await access.read(buffer, 0);
  assert.equal(buffer[0], 9);
  below.fault = () => {};
  await write(12);
  await access.flush();
  assert.equal(below.content[12 * BLOCK_BYTES], 9);
});

test('what is dirty is written after a while though nobody flushes', async () => {
  const { below, access, disk } = cached({ intervalMs: 5 });
  await access.write(Buffer.alloc(512, 9), 0);
  await eventually('the write below', () => below.content[0] === 9);
  await disk.close();
});

test('a failure of that is logged once, and its end tells what is lost', async () => {
  const { below, access, disk } = cached({ intervalMs: 2 });
  const lines: string[] = [];
  const log = (line: string): void => void lines.push(line);
  disk.useLogger({ ...silentLogger, error: log, info: log });
  below.fault = (operation) => {
    if (operation === 'write') throw ioError();
  };
  await access.write(Buffer.alloc(512, 9), 0);
  await eventually('more attempts', () => below.writes >= 4);
  assert.equal(lines.length, 1, lines.join('\n'));
  assert.match(lines[0], /writing back failed, what was to be written is kept: .*EIO/);
  await assert.rejects(disk.close(), {
    code: 'DISK_CLOSE_FAILED',
    message: /close failed: up to 4096 bytes could not be written and are lost: .*EIO/,
  });
  assert.match(lines[1], /nothing was read/);
});

test('what is read while its neighbours change does not bring their old content back', async () => {
  for (const mode of MODES) {
    const { access } = cached({ mode, sizeBytes: 1000 * BLOCK_BYTES });
    const buffer = new Uint8Array(512);
    for (let block = 0; block < 200; block++) {
      const offset = block * BLOCK_BYTES;
      const change =
        block % 2 === 0
          ? access.writeZeroes(offset, 512)
          : access.write(Buffer.alloc(512, 0), offset);
      // The change is under way when the block is asked for.
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      await access.read(new Uint8Array(512), offset + 512);
      await change;
      await access.read(buffer, offset);
      assert.equal(buffer[0], 0, `block ${block}`);
    }
  }
});

test('a sequential reader finds what it wants in memory', async () => {
  const { object, access } = cached({ readAheadBytes: 16 * BLOCK_BYTES });
  const buffer = new Uint8Array(BLOCK_BYTES);
  for (let block = 0; block < 100; block++) {
    await access.read(buffer, block * BLOCK_BYTES);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { hitBytes, fetchedBytes } = object.statistics;
  assert(hitBytes > 80 * BLOCK_BYTES, `${hitBytes / BLOCK_BYTES} blocks were hits`);
  assert(fetchedBytes <= 120 * BLOCK_BYTES, `${fetchedBytes / BLOCK_BYTES} blocks were fetched`);
});

test('a random reader has nothing read ahead', async () => {
  const { object, access } = cached({ readAheadBytes: 16 * BLOCK_BYTES });
  const buffer = new Uint8Array(BLOCK_BYTES);
  for (let block = 190; block > 0; block -= 7) await access.read(buffer, block * BLOCK_BYTES);
  assert.equal(object.statistics.fetchedBytes, object.statistics.readBytes);
});

test('memory stays within bounds however many requests there are', async () => {
  const { object, access } = cached({ sizeBytes: 16 * BLOCK_BYTES });
  const requests = Array.from({ length: 200 }, async (_, index) => {
    const offset = (index % 50) * 4 * BLOCK_BYTES;
    const buffer = new Uint8Array(4 * BLOCK_BYTES);
    if (index % 3 === 0) await access.write(buffer, offset);
    else await access.read(buffer, offset);
    assert(object.statistics.cachedBytes <= 16 * BLOCK_BYTES);
  });
  await Promise.all(requests);
});

function image(t: TestContext): string {
  const path = join(imageFolder(t), 'disk.img');
  writeFileSync(path, sectorsOf(FIRST_VALUE, DISK_BYTES / 512));
  return path;
}

test('it goes over an overlay over a file', async (t) => {
  const path = image(t);
  const overlay = `${path}.cow`;
  const model = readFileSync(path);
  const random = seededRandom(4);
  for (const mode of MODES) {
    const plan = cache(copyOnWrite(file(path), { overlay }), {
      ...{ mode, size: 2 ** 19, block: 8192, readAhead: 65536 },
    });
    const disk = await openDisk(plan);
    await compareWithModel(disk, model, { random, batches: 60, keepsDiscarded: true });
    await disk.close();
  }
  const disk = await openDisk(copyOnWrite(file(path), { overlay }));
  await compareWithModel(disk, model, { random, batches: 1, keepsDiscarded: true });
  await disk.close();
});

const REFUSALS: readonly [string, RegExp][] = [
  ['size=32K', /size is "32K": expected a number of bytes from 65536/],
  ['size=128K', /size is 131072: expected at least 16 blocks of 65536/],
  ['block=3000', /block is "3000": expected a power of two/],
  ['mode=fast', /mode is "fast": expected one of write-through, write-back/],
  ['read-ahead=1G', /read-ahead is "1G"/],
  ['interval=-1', /interval is "-1"/],
];

for (const [argument, problem] of REFUSALS) {
  test(`${argument} is refused`, async (t) => {
    const path = image(t);
    await assert.rejects(
      async () => openDisk(parseDisk(`cache(file(${path}), ${argument})`)),
      (error: StorageError) => error.code === 'DISK_OPTION' && problem.test(error.message),
    );
  });
}

test('a disk that others use in turn is refused', async (t) => {
  const plan = parseDisk(`cache(stats(file(${image(t)})))`);
  await assert.rejects(openDisk(plan, { locking: 'while-running' }), {
    code: 'DISK_OPTION',
    message: /nobody else may change the disk below in between/,
  });
});
