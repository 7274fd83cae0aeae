/** Encrypted disks as code uses them: many requests at once, disks below that fail or take time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Disk,
  type DiskObject,
  encrypt,
  explainDisk,
  file,
  openAccess,
  openDisk,
  parseDisk,
} from '../../../../src/storage/index.ts';
import { formatLuks } from '../../../../src/storage/tools.ts';
import { luks2Json, luksImage, PASSPHRASE, replaceLuks2Json } from '../../../support/luks-image.ts';

const HEADER_BYTES = 16 * 2 ** 20;
const SECRET = { passphrase: PASSPHRASE } as const;

/** A disk in memory whose methods take a turn of the event loop, and fail where they are told to. */
class SlowMemory implements DiskObject {
  readonly sizeBytes: number;
  readonly bytes: Buffer;
  failsAt = Number.POSITIVE_INFINITY;
  writes = 0;
  busy = 0;
  mostBusy = 0;
  discarded = 0;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.bytes = Buffer.alloc(sizeBytes);
  }

  async read(buffer: Uint8Array, offset: number): Promise<void> {
    await this.#takeTime(offset, buffer.length);
    buffer.set(this.bytes.subarray(offset, offset + buffer.length));
  }

  async write(buffer: Uint8Array, offset: number): Promise<void> {
    this.writes += 1;
    await this.#takeTime(offset, buffer.length);
    this.bytes.set(buffer, offset);
  }

  async flush(): Promise<void> {}

  async discard(_offset: number, length: number): Promise<void> {
    this.discarded += length;
  }

  async #takeTime(offset: number, length: number): Promise<void> {
    this.busy += 1;
    this.mostBusy = Math.max(this.mostBusy, this.busy);
    await sleep(0);
    this.busy -= 1;
    const isBad = offset <= this.failsAt && this.failsAt < offset + length;
    if (isBad) throw Object.assign(new Error('bad block'), { code: 'ENOSPC' });
  }
}

async function slowContainer(
  dataBytes: number,
  sectorBytes = 512,
): Promise<{ memory: SlowMemory; disk: Disk }> {
  const memory = new SlowMemory(HEADER_BYTES + dataBytes);
  const options = { ...SECRET, pbkdf: 'pbkdf2', iterations: 1000, sectorBytes } as const;
  await formatLuks(memory, options);
  const disk = await openDisk(encrypt(memory, SECRET));
  memory.writes = 0;
  memory.mostBusy = 0;
  return { memory, disk };
}

test('more requests at once than there is memory for wait for it', async () => {
  const { memory, disk } = await slowContainer(64 * 2 ** 20);
  const access = openAccess(disk);
  const pieceBytes = 640 * 1024;
  const pieces = Array.from({ length: 100 }, (_, index) => Buffer.alloc(pieceBytes, index + 1));
  await Promise.all(pieces.map(async (piece, index) => access.write(piece, index * pieceBytes)));
  assert.ok(memory.mostBusy <= 128, `${memory.mostBusy} requests at once below`);
  const read = pieces.map(() => Buffer.alloc(pieceBytes));
  await Promise.all(read.map(async (piece, index) => access.read(piece, index * pieceBytes)));
  read.forEach((piece, index) => {
    assert.ok(piece.equals(pieces[index]), `piece ${index}`);
  });
  access.close();
  await disk.close();
});

test('a long request lets a short one pass', async () => {
  const { disk } = await slowContainer(64 * 2 ** 20);
  const access = openAccess(disk);
  const order: string[] = [];
  const long = Promise.resolve(access.writeZeroes(0, 48 * 2 ** 20)).then(() => order.push('long'));
  const short = Promise.resolve(access.write(Buffer.alloc(512, 3), 60 * 2 ** 20)).then(() =>
    order.push('short'),
  );
  await Promise.all([long, short]);
  assert.deepEqual(order, ['short', 'long']);
  access.close();
  await disk.close();
});

test('zeros are written, encrypted', async () => {
  const { memory, disk } = await slowContainer(2 ** 20);
  const access = openAccess(disk);
  await access.write(Buffer.alloc(2 ** 20, 0xff), 0);
  await access.writeZeroes(4096, 200_704, { mayUnmap: true });
  const found = Buffer.alloc(200_704);
  await access.read(found, 4096);
  assert.ok(found.equals(Buffer.alloc(200_704)));
  const raw = memory.bytes.subarray(HEADER_BYTES + 4096, HEADER_BYTES + 4096 + 1024);
  assert.ok(!raw.subarray(0, 512).equals(Buffer.alloc(512)));
  assert.ok(!raw.subarray(0, 512).equals(raw.subarray(512)), 'each sector differs');
  await assert.rejects(async () => access.writeZeroes(0, 4096, { mustBeFast: true }), {
    code: 'ENOTSUP',
  });
  access.close();
  await disk.close();
});

/** The same disk for somebody who asks for parts of its blocks, as guests may. */
function inSectors(disk: Disk): Disk {
  return {
    info: { ...disk.info, logicalBlockBytes: 512 },
    kind: disk.kind,
    description: disk.description,
    below: disk.below,
    currentSizeBytes: () => disk.currentSizeBytes(),
    openChannel: (...parts) => disk.openChannel(...parts),
    share: () => disk.share(),
    close: () => disk.close(),
  };
}

test('parts of a sector that are written at the same time all stay', async () => {
  const { disk } = await slowContainer(2 ** 20, 4096);
  const access = openAccess(inSectors(disk));
  await access.write(Buffer.alloc(2 ** 20, 1), 0);
  const writes = Array.from({ length: 64 }, async (_, index) =>
    access.write(Buffer.alloc(512, index + 2), index * 512),
  );
  await Promise.all(writes);
  const found = Buffer.alloc(65536);
  await access.read(found, 0);
  for (let sector = 0; sector < 128; sector++) {
    const expected = sector < 64 ? sector + 2 : 1;
    assert.equal(found[sector * 512], expected, `sector ${sector}`);
    assert.equal(found[sector * 512 + 511], expected, `sector ${sector}`);
  }
  access.close();
  await disk.close();
});

test('what the disk below fails with is what the request fails with, once', async () => {
  const { memory, disk } = await slowContainer(4 * 2 ** 20);
  const access = openAccess(disk);
  memory.failsAt = HEADER_BYTES + 2 ** 20;
  const data = Buffer.alloc(2 * 2 ** 20, 9);
  await assert.rejects(async () => access.write(data, 0), { code: 'ENOSPC' });
  await assert.rejects(async () => access.read(data, 0), { code: 'ENOSPC' });
  memory.failsAt = Number.POSITIVE_INFINITY;
  await access.write(data, 0);
  const found = Buffer.alloc(data.length);
  await access.read(found, 0);
  assert.ok(found.equals(data));
  access.close();
  await disk.close();
});

test('a discard is passed on only if that is allowed', async () => {
  const { memory, disk } = await slowContainer(2 ** 20);
  assert.equal(disk.info.canDiscard, false);
  await disk.close();
  const open = await openDisk(encrypt(memory, { ...SECRET, allowDiscards: true }));
  const access = openAccess(open);
  await access.discard(0, 65536);
  assert.equal(memory.discarded, 65536);
  access.close();
  await open.close();
});

test('no promise is needed over a file, and nothing shown has the passphrase', async (t) => {
  const { path } = await luksImage(t, 2 ** 20);
  const disk = await openDisk(encrypt(file(path), SECRET));
  const lines = explainDisk(disk).join('\n');
  assert.match(lines, /^served by queue threads/);
  assert.match(lines, /encrypt \(no promises\): LUKS2/);
  assert.ok(!lines.includes(PASSPHRASE));
  await disk.close();
});

test('a passphrase on the command line is refused, and not repeated', () => {
  assert.throws(
    () => parseDisk('encrypt(file(x), passphrase=hunter2)'),
    (error: Error) => {
      assert.match(error.message, /use passphrase-file/);
      assert.ok(!error.message.includes('hunter2'));
      return true;
    },
  );
});

test('a passphrase is asked for, and one that is empty is none', async (t) => {
  const { path } = await luksImage(t, 2 ** 20);
  await assert.rejects(openDisk(encrypt(file(path), {})), { code: 'DISK_OPTION' });
  await assert.rejects(openDisk(encrypt(file(path), { passphrase: '' })), { code: 'DISK_OPTION' });
  const missing = encrypt(file(path), { passphraseFile: `${path}.missing` });
  await assert.rejects(openDisk(missing), { code: 'DISK_SECRET', message: /ENOENT/ });
});

test('data that does not begin at a block of the disk below is refused', async (t) => {
  const { path, dataOffset } = await luksImage(t, 2 ** 20);
  const area = luks2Json(path).replaceAll(`"${dataOffset}"`, `"${dataOffset + 512}"`);
  replaceLuks2Json(path, area);
  await (await openDisk(encrypt(file(path), SECRET))).close();
  await assert.rejects(openDisk(encrypt(file(path), SECRET), { blockBytes: 4096 }), {
    code: 'DISK_BLOCK_SIZE',
  });
});
