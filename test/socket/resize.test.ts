/** A disk that grows or shrinks while it is served. */
import assert from 'node:assert/strict';
import { rmSync, truncateSync } from 'node:fs';
import { test } from 'node:test';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { nextEvent, vhostUserDevice } from '../support/client-device.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const KIB = 1024;
const BEFORE = 64 * KIB;
const LARGER = 256 * KIB;
const SMALLER = 16 * KIB;

async function resize(disk: ServedDisk, sizeBytes: number): Promise<void> {
  truncateSync(disk.imagePath, sizeBytes);
  process.kill(disk.server.pid, 'SIGHUP');
  await disk.server.logged(new RegExp(`SIGHUP: the disk has ${sizeBytes} bytes`));
}

for (const { engine, skip } of SERVER_ENGINES) {
  test(`clients learn of a new size, and use it (${engine})`, { skip }, async () => {
    await using disk = await ServedDisk.start({ engine, sizeBytes: BEFORE });
    using device = vhostUserDevice(disk.socketPath);
    await device.connect();
    await device.start();
    const queue = device.asyncQueue(0);
    assert.equal(device.capacityBytes, BEFORE);
    const told = nextEvent(device, 'config-change');
    await resize(disk, LARGER);
    await told;
    assert.equal(device.capacityBytes, LARGER);
    const data = patternBytes(4 * KIB);
    await queue.write(LARGER - 4 * KIB, data);
    assertSameBytes(disk.readImage(LARGER - 4 * KIB, 4 * KIB), data, 'the new end');
    const again = nextEvent(device, 'config-change');
    await resize(disk, SMALLER);
    await again;
    assert.equal(device.capacityBytes, SMALLER);
  });

  test(`requests beyond the end of a disk that has shrunk get IOERR (${engine})`, {
    skip,
  }, async () => {
    await using disk = await ServedDisk.start({ engine, sizeBytes: BEFORE });
    const driver = await disk.connect();
    await resize(disk, SMALLER);
    const beyond = { type: RequestType.IN, sector: SMALLER / 512, room: 4 * KIB };
    assert.equal((await driver.request(beyond)).status, Status.IOERR);
    const write = { type: RequestType.OUT, sector: SMALLER / 512 - 1, data: new Uint8Array(KIB) };
    assert.equal((await driver.request(write)).status, Status.IOERR);
    await driver.read(SMALLER / 512 - 8, 8);
    assert.equal(disk.readImage().length, SMALLER, 'nothing made it larger again');
    await resize(disk, LARGER);
    await driver.read(LARGER / 512 - 8, 8);
  });
}

test('a client that comes later finds the new size', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: BEFORE });
  await resize(disk, LARGER);
  using device = vhostUserDevice(disk.socketPath);
  await device.connect();
  assert.equal(device.capacityBytes, LARGER);
});

test('an image that was removed keeps serving, at the size it has', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: BEFORE });
  const driver = await disk.connect();
  rmSync(disk.imagePath);
  process.kill(disk.server.pid, 'SIGHUP');
  await disk.server.logged(new RegExp(`SIGHUP: the disk has ${BEFORE} bytes`));
  await driver.read(0, 8);
});
