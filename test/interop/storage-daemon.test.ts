/** Our front-end and driver with a back-end that others have written. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { NO_PROTOCOL_FEATURES } from '../../src/vhost-user/index.ts';
import {
  BlockFeature,
  hasFeature,
  RequestType,
  SECTOR_BYTES,
  Status,
} from '../../src/virtio-blk/index.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { ServedPeer } from '../support/served-peer.ts';
import { storageDaemonRequirements } from '../support/storage-daemon.ts';

const skip = storageDaemonRequirements() ?? false;
const MIB = 1024 * 1024;
const EVENT_IDX = 1n << BigInt(RingFeature.EVENT_IDX);
const INDIRECT_DESC = 1n << BigInt(RingFeature.INDIRECT_DESC);
const REQUESTS = 20_000;

suite('our front-end with qemu-storage-daemon', () => {
  test('features and the configuration space', { skip }, async () => {
    await using peer = await ServedPeer.start({ numQueues: 3, logicalBlockSize: 4096 });
    const driver = await peer.connect({ numQueues: 3 });
    const { features, maxQueues } = driver.connection;
    const { FLUSH, DISCARD, WRITE_ZEROES, MQ } = BlockFeature;
    for (const bit of [FLUSH, DISCARD, WRITE_ZEROES, MQ]) {
      assert.ok(hasFeature(features, bit), `feature ${bit}`);
    }
    assert.equal(maxQueues, 3);
    const config = await driver.connection.readConfig();
    assert.equal(config.getBigUint64(0, true), BigInt((16 * MIB) / SECTOR_BYTES), 'capacity');
    assert.equal(config.getUint32(20, true), 4096, 'blk_size');
    assert.equal(config.getUint16(34, true), 3, 'num_queues');
  });

  for (const [name, mask] of [
    ['all features', ~0n],
    ['no EVENT_IDX', ~EVENT_IDX],
    ['no indirect tables', ~INDIRECT_DESC],
  ] as const) {
    test(`many requests on several queues, ${name}`, { skip }, async () => {
      await using peer = await ServedPeer.start({ numQueues: 4 });
      const driver = await peer.connect({ numQueues: 4, queueSize: 64, features: mask });
      let next = 0;
      const lane = async (queue: number): Promise<void> => {
        for (let at = next++; at < REQUESTS; at = next++) {
          const sector = (at % 4096) * 8;
          const data = patternBytes(512, at % 4096);
          await driver.write(sector, data, queue);
          assertSameBytes(await driver.read(sector, 1, queue), data, `sector ${sector}`);
        }
      };
      await Promise.all(Array.from({ length: 64 }, (_, index) => lane(index % 4)));
      const { status } = await driver.request({ type: RequestType.FLUSH });
      assert.equal(status, Status.OK);
      const image = peer.readImage();
      for (let block = 0; block < 4096; block++) {
        const found = image.subarray(block * 4096, block * 4096 + 512);
        assertSameBytes(found, patternBytes(512, block), `block ${block}`);
      }
    });
  }

  test('a ring is stopped and goes on where it was', { skip }, async () => {
    await using peer = await ServedPeer.start();
    const driver = await peer.connect();
    for (let round = 1; round <= 3; round++) {
      for (let count = 0; count < 50; count++) await driver.write(count, patternBytes(512, round));
      const base = await driver.connection.stopQueue(0);
      assert.equal(base, round * 50);
      await driver.connection.startQueue(0, base);
    }
  });

  test('a read-only export refuses writes with a status', { skip }, async () => {
    await using peer = await ServedPeer.start({ writable: false });
    const driver = await peer.connect();
    assert.ok(hasFeature(driver.connection.features, BlockFeature.RO));
    const data = patternBytes(512);
    const { status } = await driver.request({ type: RequestType.OUT, sector: 0, data });
    assert.equal(status, Status.IOERR);
    assert.equal((await driver.read(0, 1)).some(Boolean), false);
  });

  test('one client after another', { skip }, async () => {
    await using peer = await ServedPeer.start();
    for (let client = 0; client < 5; client++) {
      const driver = await peer.connect();
      if (client > 0)
        assertSameBytes(await driver.read(9, 1), patternBytes(512, client - 1), 'read');
      await driver.write(9, patternBytes(512, client));
      driver.close();
    }
  });

  test('a daemon that dies is noticed by all that waits', { skip }, async () => {
    await using peer = await ServedPeer.start();
    const driver = await peer.connect();
    await driver.read(0, 1);
    peer.kill();
    await assert.rejects(driver.read(0, 1));
    await assert.rejects(driver.connection.readConfig());
  });

  test('without protocol features', { skip }, async () => {
    await using peer = await ServedPeer.start();
    const driver = await peer.connect({ protocolFeatures: NO_PROTOCOL_FEATURES });
    await driver.write(3, patternBytes(1024));
    assertSameBytes(await driver.read(3, 2), patternBytes(1024), 'read');
  });
});
