/**
 * Clusters that move while requests are under way: what a guest writes to a cluster that it discards
 * at the same time may be lost, but must not turn up in a cluster that has come to be in its place.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  type Disk,
  type DiskAccess,
  openAccess,
  openDisk,
  qcow2,
} from '../../../../src/storage/index.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { RecordedDisk, type RecordedWrite } from '../../../support/recorded-disk.ts';

const CLUSTER_BYTES = 4096;
const SIZE_BYTES = 64 * CLUSTER_BYTES;

/** A disk some of whose requests wait until they are let go. */
class HoldingDisk extends RecordedDisk {
  /** Of writes: whether to hold one. */
  holds: (data: Uint8Array) => boolean = () => false;
  holdsReads = false;
  #release: () => void = () => {};
  #held: Promise<void> | undefined;
  heldCount = 0;

  override read(buffer: Uint8Array, offset: number): void | Promise<void> {
    if (!this.holdsReads) return super.read(buffer, offset);
    return this.#hold().then(() => super.read(buffer, offset));
  }

  override write(buffer: Uint8Array, offset: number, request: RecordedWrite): void | Promise<void> {
    if (!this.holds(buffer)) return super.write(buffer, offset, request);
    const data = Buffer.from(buffer);
    return this.#hold().then(() => super.write(data, offset, request));
  }

  #hold(): Promise<void> {
    this.heldCount += 1;
    this.#held ??= new Promise((resolve) => {
      this.#release = resolve;
    });
    return this.#held;
  }

  letGo(): void {
    this.holds = () => false;
    this.holdsReads = false;
    this.#held = undefined;
    this.#release();
  }
}

interface Opened {
  readonly below: HoldingDisk;
  readonly disk: Disk;
  readonly access: DiskAccess;
}

async function opened(t: TestContext): Promise<Opened> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: SIZE_BYTES, clusterBytes: CLUSTER_BYTES });
  const below = new HoldingDisk(readFileSync(path));
  t.after(() => below.letGo());
  const disk = await openDisk(qcow2(below.asDisk()));
  return { below, disk, access: openAccess(disk) };
}

function cluster(value: number): Buffer {
  return Buffer.alloc(CLUSTER_BYTES, value);
}

async function turns(count = 20): Promise<void> {
  for (let done = 0; done < count; done++) await turn();
}

async function assertReads(access: DiskAccess, number: number, value: number): Promise<void> {
  const found = Buffer.alloc(CLUSTER_BYTES, 0xee);
  await access.read(found, number * CLUSTER_BYTES);
  assert.deepEqual([found[0], found[CLUSTER_BYTES - 1]], [value, value], `cluster ${number}`);
}

/** Write all clusters but the first: some are where the discarded one was. */
async function fillOthers(access: DiskAccess): Promise<void> {
  for (let number = 1; number < 40; number++) {
    await access.write(cluster(100 + number), number * CLUSTER_BYTES);
  }
}

test('a cluster is not given away while it is being written, nor written then', async (t) => {
  const { below, disk, access } = await opened(t);
  await access.write(cluster(1), 0);
  await access.flush();
  below.holds = (data) => data[0] === 2;
  const write = access.write(cluster(2), 0);
  await turns();
  assert.equal(below.heldCount, 1);
  let isDiscarded = false;
  const discard = Promise.resolve(access.discard(0, CLUSTER_BYTES)).then(() => {
    isDiscarded = true;
  });
  await turns();
  const late = access.write(Buffer.alloc(512, 2), 512);
  await turns();
  assert.equal(
    isDiscarded,
    false,
    'what is being written would go to whoever has the cluster then',
  );
  assert.equal(below.heldCount, 1, 'the cluster is about to move');
  below.letGo();
  await Promise.all([write, discard, late]);
  await access.flush();
  await fillOthers(access);
  for (let number = 1; number < 40; number++) await assertReads(access, number, 100 + number);
  const found = Buffer.alloc(CLUSTER_BYTES);
  await access.read(found, 0);
  assert.deepEqual([found[0], found[512], found[1023], found[1024]], [0, 2, 2, 0]);
  access.close();
  await disk.close();
});

test('a cluster that comes to be is not written by two at once', async (t) => {
  const { below, disk, access } = await opened(t);
  await access.write(cluster(1), 0);
  await access.flush();
  await access.writeZeroes(0, CLUSTER_BYTES, { mayUnmap: true });
  await access.flush();
  below.holds = (data) => data.includes(3);
  const first = access.write(Buffer.alloc(512, 3), 0);
  await turns();
  assert.equal(below.heldCount, 1);
  const second = access.write(Buffer.alloc(512, 4), 1024);
  await turns();
  below.letGo();
  await Promise.all([first, second]);
  const found = Buffer.alloc(CLUSTER_BYTES);
  await access.read(found, 0);
  assert.deepEqual(
    [found[0], found[511], found[512], found[1024], found[1535], found[1536]],
    [3, 3, 0, 4, 4, 0],
  );
  access.close();
  await disk.close();
});

test('a cluster that held something else is zeros where nothing is written', async (t) => {
  const { disk, access } = await opened(t);
  for (let number = 0; number < 8; number++) {
    await access.write(cluster(50 + number), number * CLUSTER_BYTES);
  }
  await access.discard(0, 8 * CLUSTER_BYTES);
  await access.flush();
  for (let number = 0; number < 8; number++) {
    await access.write(Buffer.alloc(512, 9), number * CLUSTER_BYTES + 1024);
  }
  for (let number = 0; number < 8; number++) {
    const found = Buffer.alloc(CLUSTER_BYTES, 0xee);
    await access.read(found, number * CLUSTER_BYTES);
    const expected = Buffer.concat([Buffer.alloc(1024), Buffer.alloc(512, 9)], CLUSTER_BYTES);
    assert.ok(found.equals(expected), `cluster ${number}`);
  }
  access.close();
  await disk.close();
});

test('requests to a cluster wait while it comes to be, and then go on together', async (t) => {
  const { below, disk, access } = await opened(t);
  below.holds = (data) => data[0] === 7;
  const first = access.write(Buffer.alloc(512, 7), 0);
  await turns();
  const writes = [1, 2, 3, 4].map((sector) =>
    access.write(Buffer.alloc(512, sector), sector * 512),
  );
  const read = Buffer.alloc(512, 0xee);
  const reading = access.read(read, 5 * 512);
  await turns();
  below.letGo();
  await Promise.all([first, ...writes, reading]);
  const found = Buffer.alloc(CLUSTER_BYTES);
  await access.read(found, 0);
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].map((sector) => found[sector * 512]),
    [7, 1, 2, 3, 4, 0],
  );
  assert.ok(read.equals(Buffer.alloc(512)));
  access.close();
  await disk.close();
});
