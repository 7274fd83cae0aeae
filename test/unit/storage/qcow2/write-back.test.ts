/**
 * Flushes that come while tables are on their way to the disk: none ends before what was changed
 * before it is there, and what fails is written by the next.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  type Disk,
  type DiskAccess,
  openAccess,
  openDisk,
  type Qcow2Parameters,
  qcow2,
} from '../../../../src/storage/index.ts';
import { parseHeader } from '../../../../src/storage/qcow2/header.ts';
import { Qcow2Image } from '../../../../src/storage/qcow2/qcow2-image.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { RecordedDisk, type RecordedWrite, type Survival } from '../../../support/recorded-disk.ts';
import { RecordingLogger } from '../../../support/recording-logger.ts';

const CLUSTER_BYTES = 512;
const SLICE_BYTES = CLUSTER_BYTES * (CLUSTER_BYTES / 8);
const SLICES = 40;

/** A disk whose requests take a few turns, and may fail. */
class SlowDisk extends RecordedDisk {
  /** Throws what a write is to fail with. */
  onWrite: (offset: number) => void = () => {};
  flushes = 0;
  writesUnderWay = 0;

  override async write(buffer: Uint8Array, offset: number, request: RecordedWrite): Promise<void> {
    const data = Buffer.from(buffer);
    this.writesUnderWay += 1;
    try {
      for (let turns = 1 + (offset % 7); turns > 0; turns--) await turn();
      this.onWrite(offset);
      await super.write(data, offset, request);
    } finally {
      this.writesUnderWay -= 1;
    }
  }

  override async flush(): Promise<void> {
    this.flushes += 1;
    await turn();
    await super.flush();
  }
}

/** A disk that should take discards, but does not. */
class WithoutDiscards extends RecordedDisk {
  discards = 0;

  discard(): void {
    this.discards += 1;
    throw Object.assign(new Error('no discards'), { code: 'EOPNOTSUPP' });
  }
}

interface Opened {
  readonly below: SlowDisk;
  readonly disk: Disk;
  readonly access: DiskAccess;
}

async function made(t: TestContext): Promise<{ bytes: Buffer; below: SlowDisk }> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: SLICES * SLICE_BYTES, clusterBytes: CLUSTER_BYTES });
  const bytes = readFileSync(path);
  return { bytes, below: new SlowDisk(bytes) };
}

async function opened(t: TestContext, parameters: Qcow2Parameters = {}): Promise<Opened> {
  const { below } = await made(t);
  const disk = await openDisk(qcow2(below.asDisk(), parameters));
  return { below, disk, access: openAccess(disk) };
}

function cluster(value: number): Buffer {
  return Buffer.alloc(CLUSTER_BYTES, value);
}

/**
 * Fails unless a cluster is there after a crash that loses all that was not flushed, or nothing,
 * as the end of the process does.
 */
async function assertSafe(
  below: SlowDisk,
  number: number,
  value: number,
  survival: Survival = 'none',
): Promise<void> {
  const left = new RecordedDisk(below.after(below.now, survival, () => 0));
  const disk = await openDisk(qcow2(left.asDisk()));
  const access = openAccess(disk);
  const found = Buffer.alloc(CLUSTER_BYTES);
  await access.read(found, number * CLUSTER_BYTES);
  assert.equal(found[0], value, `cluster ${number}`);
  access.close();
  await disk.close();
}

suite('tables on their way to the disk', () => {
  test('a flush in the moment in which one ends and the next is about to begin', async (t) => {
    const { bytes, below } = await made(t);
    const lower = below.asDisk();
    const header = parseHeader(bytes, bytes.length, 'image');
    const parts = { lower, access: openAccess(lower), backing: undefined };
    const image = await Qcow2Image.open(parts, header);
    await image.write(cluster(1), 0);
    const first = image.flush();
    const after = first.then(() => image.flush());
    await image.write(cluster(2), SLICE_BYTES);
    await image.flush();
    await assertSafe(below, SLICE_BYTES / CLUSTER_BYTES, 2);
    await after;
    await image.close();
  });

  test('every flush that ends has kept its promise', async (t) => {
    const { access, below, disk } = await opened(t);
    let value = 1;
    const work = async (slice: number): Promise<void> => {
      for (let round = 0; round < 4; round++) {
        const number = (slice * SLICE_BYTES) / CLUSTER_BYTES + round;
        const mine = (value++ % 250) + 1;
        await access.write(cluster(mine), number * CLUSTER_BYTES);
        await access.flush();
        await assertSafe(below, number, mine);
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, slice) => work(slice)));
    access.close();
    await disk.close();
  });

  test('a flush that fails leaves no write under way, and the next one writes all', async (t) => {
    const { access, below, disk } = await opened(t);
    for (let slice = 0; slice < 20; slice++) {
      await access.write(cluster(slice + 1), slice * SLICE_BYTES);
    }
    await access.flush();
    for (let slice = 0; slice < 20; slice++) {
      await access.write(cluster(slice + 101), slice * SLICE_BYTES + CLUSTER_BYTES);
    }
    // The first write that ends is one of several tables.
    below.onWrite = () => {
      if (below.writesUnderWay > 1) throw Object.assign(new Error('broken'), { code: 'EIO' });
    };
    await assert.rejects(Promise.resolve(access.flush()), { code: 'EIO' });
    assert.equal(below.writesUnderWay, 0);
    below.onWrite = () => {};
    await access.flush();
    for (let slice = 0; slice < 20; slice++) {
      await assertSafe(below, (slice * SLICE_BYTES) / CLUSTER_BYTES + 1, slice + 101);
    }
    access.close();
    await disk.close();
  });

  test('a discard that fails below is no failure: clusters are free all the same', async (t) => {
    const { bytes } = await made(t);
    const below = new WithoutDiscards(bytes);
    const disk = await openDisk(qcow2(below.asDisk()));
    const logger = new RecordingLogger();
    disk.useLogger?.(logger);
    const access = openAccess(disk);
    const all = Buffer.alloc(SLICES * SLICE_BYTES, 7);
    await access.write(all, 0);
    await access.flush();
    const { sizeBytes } = below;
    for (let round = 0; round < 3; round++) {
      await access.discard(0, all.length);
      await access.flush();
      await access.write(all, 0);
      await access.flush();
    }
    assert.equal(below.sizeBytes, sizeBytes, 'what was discarded is used again');
    assert.ok(below.discards > 1);
    assert.equal(logger.warnings.length, 1);
    assert.match(logger.warnings[0], /does not take back clusters that are free: .*ENOTSUP/);
    access.close();
    await disk.close();
  });
});

suite('tables that are written through', () => {
  const mode = { tables: 'write-through' } as const;

  test('what is answered outlives the process', async (t) => {
    const { access, below, disk } = await opened(t, mode);
    const work = async (slice: number): Promise<void> => {
      for (let round = 0; round < 4; round++) {
        const number = (slice * SLICE_BYTES) / CLUSTER_BYTES + (round >> 1);
        const mine = slice * 4 + round + 1;
        await access.write(cluster(mine), number * CLUSTER_BYTES);
        await assertSafe(below, number, mine, 'all');
      }
    };
    await Promise.all(Array.from({ length: SLICES }, (_, slice) => work(slice)));
    access.close();
    await disk.close();
  });

  test('what comes while a new cluster is made known waits for that', async (t) => {
    const { access, below, disk } = await opened(t, mode);
    for (let turns = 0; turns < SLICES; turns++) {
      const number = (turns * SLICE_BYTES) / CLUSTER_BYTES;
      const first = access.write(cluster(1), number * CLUSTER_BYTES);
      for (let each = 0; each < turns; each++) await turn();
      await access.write(cluster(2), number * CLUSTER_BYTES);
      await assertSafe(below, number, 2, 'all');
      await first;
    }
    access.close();
    await disk.close();
  });

  test('what is to be stable, or was flushed, outlives a failure of the power', async (t) => {
    const { access, below, disk } = await opened(t, mode);
    await access.write(cluster(1), 0);
    await access.write(cluster(2), 0, { stable: true });
    await assertSafe(below, 0, 2);
    await access.write(cluster(3), SLICE_BYTES);
    await access.flush();
    await assertSafe(below, SLICE_BYTES / CLUSTER_BYTES, 3);
    access.close();
    await disk.close();
  });

  test('a write where there is a cluster flushes nothing, and a flush frees what is not used', async (t) => {
    const { access, below, disk } = await opened(t, mode);
    await access.write(Buffer.alloc(SLICE_BYTES, 1), 0);
    await access.flush();
    const { flushes, sizeBytes } = below;
    await access.write(cluster(2), CLUSTER_BYTES);
    assert.equal(below.flushes, flushes);
    for (let round = 0; round < 500; round++) {
      await access.discard(0, SLICE_BYTES);
      await access.flush();
      await access.write(Buffer.alloc(SLICE_BYTES, 3), 0);
    }
    assert.ok(below.sizeBytes <= sizeBytes + 2 ** 20, `${below.sizeBytes} of ${sizeBytes} bytes`);
    access.close();
    await disk.close();
  });
});
