/** Packed rings of all sizes, with and without notifications, and rings that stop and go on. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalEvent } from '../../src/sys/index.ts';
import { RequestType } from '../../src/virtio-blk/index.ts';
import { firstBase, packedBase, RingFeature } from '../../src/virtqueue/index.ts';
import { ChainDriver, headerBytes, readable, writable } from '../support/chain-driver.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const { IN, OUT } = RequestType;
const NO_INDIRECT = ~(1n << BigInt(RingFeature.INDIRECT_DESC));
const PACKED_BIT = 1n << BigInt(RingFeature.RING_PACKED);

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`packed rings, ${engine}`, () => {
    test('sizes of all kinds work, with indirect tables and without', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      for (const features of [-1n, NO_INDIRECT]) {
        for (const size of [3, 4, 5, 7, 64, 100, 127, 1000, 1024]) {
          const driver = await disk.connect({ queueSize: size, packed: true, features });
          assert.notEqual(
            driver.connection.features & PACKED_BIT,
            0n,
            'packed rings are agreed on',
          );
          const perRequest = features === -1n ? 1 : 3;
          const depth = Math.min(Math.floor(size / perRequest), 64);
          for (let round = 0; round < 3; round++) {
            const all = Array.from({ length: depth }, (_, index) =>
              patternBytes(512, size + index + round),
            );
            await Promise.all(all.map((data, index) => driver.write(index * 3, data)));
            const back = await Promise.all(all.map((_, index) => driver.read(index * 3, 1)));
            back.forEach((data, index) => {
              assertSameBytes(data, all[index], `ring of ${size}, request ${index}`);
            });
          }
          driver.close();
        }
      }
    });

    test('a ring larger than --queue-size is refused', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--queue-size=64'] });
      await assert.rejects(disk.connect({ queueSize: 65, packed: true }), { code: 'REFUSED' });
      const driver = await disk.connect({ queueSize: 63, packed: true });
      assert.equal((await driver.read(0, 1)).length, 512);
    });

    test('a ring without kick and call descriptors is served', { skip }, async () => {
      const content = patternBytes(2 ** 20);
      await using disk = await ServedDisk.start({ engine, content });
      const connection = await disk.connectRings({ polled: true, packed: true });
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const { ram } = connection;
      const [header, data, status] = [ram.allocate(16), ram.allocate(4096), ram.allocate(1)];
      for (let round = 0; round < 100; round++) {
        header.bytes.set(headerBytes(IN, round));
        let isDone = false;
        void driver.run([readable(header), writable(data), writable(status)]).then(() => {
          isDone = true;
        });
        const endMs = performance.now() + 30_000;
        while (!isDone && performance.now() < endMs) {
          await sleep(round % 10 === 0 ? 20 : 1);
          driver.look();
        }
        assert.ok(isDone, `request ${round} is served`);
        const expected = content.subarray(round * 512, round * 512 + 4096);
        assertSameBytes(data.bytes, expected, `request ${round}`);
      }
    });

    test('a ring goes on where it stopped, in either lap', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--disk=null,size=1M'] });
      const size = 10;
      const options = { features: NO_INDIRECT, packed: true, queueSize: size };
      const connection = await disk.connectRings(options);
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const { ram } = connection;
      const [header, data, status] = [ram.allocate(16), ram.allocate(512), ram.allocate(1)];
      header.bytes.set(headerBytes(OUT, 0));
      const chain = [readable(header), readable(data), writable(status)];
      for (let done = 0; done < 100; done++) {
        const base = await connection.stopQueue(0);
        const position = (done * 3) % (2 * size);
        assert.equal(base, packedBase(position, position, size));
        const later = driver.run(chain);
        await connection.startQueue(0, base);
        signalEvent(connection.queues[0].kick.number);
        await later;
      }
    });

    test('a reset device begins anew', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect({ packed: true });
      await driver.write(0, patternBytes(512));
      const { session } = driver.connection;
      await session.request('RESET_DEVICE', null);
      const reply = await session.request('GET_VRING_BASE', { index: 0, num: 0 });
      assert.equal(reply.num, firstBase('packed'));
    });
  });
}
