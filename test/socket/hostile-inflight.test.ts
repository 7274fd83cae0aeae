/** In-flight memory whose front-end writes there what it likes: its own rings suffer, nobody else. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { drainEvent, Mapping } from '../../src/sys/index.ts';
import type { DriverConnection } from '../../src/testing/index.ts';
import { RequestType } from '../../src/virtio-blk/index.ts';
import { ChainDriver, headerBytes, readable, writable } from '../support/chain-driver.ts';
import { eventually } from '../support/eventually.ts';
import { ServedDisk } from '../support/served-disk.ts';

const QUEUE_SIZE = 16;
const ROUNDS = 200;

interface Rig {
  readonly disk: ServedDisk;
  readonly connection: DriverConnection;
  readonly log: Uint8Array;
  /** Of the stopped ring. */
  readonly base: number;
}

/** A ring that is stopped, and its log. */
async function withLog(isPacked: boolean, use: (rig: Rig) => Promise<void>): Promise<void> {
  await using disk = await ServedDisk.start();
  const connection = await disk.connectRings({ packed: isPacked, queueSize: QUEUE_SIZE });
  const base = await connection.stopQueue(0);
  const { fd, description } = await connection.frontend.getInflight(1, QUEUE_SIZE);
  await connection.frontend.setInflight({ fd, description });
  using mapping = Mapping.ofFile(fd.number, 0, description.mmapSize);
  fd.close();
  const log = new Uint8Array(mapping.view(0, mapping.sizeBytes));
  await use({ disk, connection, log, base });
}

/** Flush once, and see that it was done. */
async function flush(connection: DriverConnection, driver: ChainDriver): Promise<void> {
  const { ram } = connection;
  const header = ram.allocate(16);
  header.bytes.set(headerBytes(RequestType.FLUSH, 0));
  const status = ram.allocate(1);
  status.bytes.fill(0xee);
  await driver.run([readable(header), writable(status)]);
  assert.equal(status.bytes[0], 0);
}

for (const isPacked of [false, true]) {
  suite(`the log of a ${isPacked ? 'packed' : 'split'} ring`, () => {
    test('is garbage: the ring is not served, and others are', () =>
      withLog(isPacked, async ({ disk, connection, log, base }) => {
        log.fill(0xa5);
        await connection.startQueue(0, base);
        const { err } = connection.queues[0];
        await eventually('the ring is said to be broken', () => drainEvent(err.number) > 0);
        await disk.server.logged(/ring 0 is not served any more: the in-flight log is of version/);
        assert.ok(
          log.every((byte) => byte === 0xa5),
          'nothing was written there',
        );
        await connection.stopQueue(0);
        connection.close();
        const other = await disk.connect({ packed: isPacked });
        assert.equal((await other.request({ type: RequestType.FLUSH, sector: 0 })).status, 0);
      }));

    test('is overwritten while the ring runs: requests are answered as ever', () =>
      withLog(isPacked, async ({ disk, connection, log, base }) => {
        await connection.startQueue(0, base);
        using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
        for (let round = 0; round < ROUNDS; round++) {
          const running = [0, 1, 2, 3].map(() => flush(connection, driver));
          for (let at = 0; at < log.length; at++) log[at] = Math.random() * 256;
          await Promise.all(running);
        }
      }));
  });
}
