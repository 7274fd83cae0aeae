/** Rings of all sizes, rings without notifications, and rings that stop and go on. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalEvent } from '../../src/sys/index.ts';
import { GuestRam } from '../../src/testing/index.ts';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import { ChainDriver, headerBytes, readable, writable } from '../support/chain-driver.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;
const { IN, OUT } = RequestType;
const NO_INDIRECT = ~(1n << BigInt(RingFeature.INDIRECT_DESC));

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`ring sizes, ${engine}`, () => {
    test('every power of two from 2 to 1024 works', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      for (let size = 2; size <= 1024; size *= 2) {
        const driver = await disk.connect({ queueSize: size });
        const depth = Math.min(size, 64);
        const all = Array.from({ length: depth }, (_, index) => patternBytes(512, size + index));
        await Promise.all(all.map((data, index) => driver.write(index * 3, data)));
        const back = await Promise.all(all.map((_, index) => driver.read(index * 3, 1)));
        back.forEach((data, index) => {
          assertSameBytes(data, all[index], `ring of ${size}, request ${index}`);
        });
        driver.close();
      }
    });

    test('a ring of 32768 can be full of requests', { skip }, async () => {
      const size = 32768;
      await using disk = await ServedDisk.start({ engine, args: [`--queue-size=${size}`] });
      const ram = new GuestRam([{ guestAddress: 0, sizeBytes: 16 * MIB }]);
      const options = { queueSize: size, ram, features: NO_INDIRECT };
      const connection = await disk.connectRings(options);
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const data = ram.allocate(512);
      const statuses = ram.allocate(size);
      const headers = ram.allocate(size * 16);
      // Chains of three: the ring holds 10922 of them.
      const count = Math.floor(size / 3);
      statuses.bytes.fill(0xff);
      const done = Array.from({ length: count }, (_, index) => {
        headers.bytes.set(headerBytes(IN, index), index * 16);
        const header = readable(headers, index * 16, index * 16 + 16);
        return driver.run([header, writable(data), writable(statuses, index, index + 1)]);
      });
      const used = await Promise.all(done);
      assert.ok(used.every((length) => length === 513));
      assert.ok(statuses.bytes.subarray(0, count).every((status) => status === Status.OK));
    });

    test('a ring larger than --queue-size is refused', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--queue-size=64'] });
      await assert.rejects(disk.connect({ queueSize: 128 }), { code: 'REFUSED' });
      const driver = await disk.connect({ queueSize: 64 });
      assert.equal((await driver.read(0, 1)).length, 512);
    });
  });

  suite(`polled rings, ${engine}`, () => {
    test('a ring without kick and call descriptors is served', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const connection = await disk.connectRings({ polled: true });
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const { ram } = connection;
      const [header, data, status] = [ram.allocate(16), ram.allocate(4096), ram.allocate(1)];
      for (let round = 0; round < 20; round++) {
        header.bytes.set(headerBytes(IN, round));
        const used = driver.run([readable(header), writable(data), writable(status)]);
        let isDone = false;
        void used.then(() => {
          isDone = true;
        });
        const endMs = performance.now() + 30_000;
        while (!isDone && performance.now() < endMs) {
          // Now and then long enough for the server to fall asleep.
          await sleep(round % 4 === 0 ? 20 : 1);
          driver.look();
        }
        assert.ok(isDone, `request ${round} is served`);
        const expected = content.subarray(round * 512, round * 512 + 4096);
        assertSameBytes(data.bytes, expected, `request ${round}`);
      }
    });
  });

  suite(`stopped rings, ${engine}`, () => {
    test('a ring goes on where it stopped, past the wrap of its index', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--disk=null,size=1M'] });
      const connection = await disk.connectRings({ features: NO_INDIRECT });
      const [queue] = connection.queues;
      using driver = new ChainDriver(connection, queue, disk.reactor);
      const { ram } = connection;
      const [header, data, status] = [ram.allocate(16), ram.allocate(512), ram.allocate(1)];
      header.bytes.set(headerBytes(OUT, 0));
      const chain = [readable(header), readable(data), writable(status)];
      // 70000 requests: the 16-bit index wraps after 65536.
      for (let done = 0; done < 70_000; done += 35) {
        await Promise.all(Array.from({ length: 35 }, () => driver.run(chain)));
        if (done % 10_010 !== 0) continue;
        const base = await connection.stopQueue(0);
        assert.equal(base, (done + 35) % 65536);
        const later = driver.run(chain);
        await connection.startQueue(0, base);
        signalEvent(queue.kick.number);
        await later;
        // It is used up at an index of its own.
        await connection.stopQueue(0);
        await connection.startQueue(0, (base + 1) % 65536);
        done += 1;
      }
    });

    test('a disabled ring rests, and goes on when it is enabled', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect({ numQueues: 2 });
      const { session } = driver.connection;
      await session.request('SET_VRING_ENABLE', { index: 0, num: 0 });
      let isDone = false;
      const data = patternBytes(512);
      const write = driver.write(9, data).then(() => {
        isDone = true;
      });
      // By the same thread, and each time it looks at all its rings.
      for (let round = 0; round < 50; round++) await driver.read(0, 1, 1);
      assert.equal(isDone, false);
      assert.ok(disk.readImage(9 * 512, 512).every((byte) => byte === 0));
      await session.request('SET_VRING_ENABLE', { index: 0, num: 1 });
      await write;
      assertSameBytes(disk.readImage(9 * 512, 512), data, 'image');
    });
  });
}
