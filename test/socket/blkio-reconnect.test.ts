/** Devices whose server is killed under load, and comes back or does not. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { AsyncQueue } from '../../src/blkio/index.ts';
import { assertFails, nextEvent, vhostUserDevice } from '../support/client-device.ts';
import { ClientLoad } from '../support/client-load.ts';
import { eventually } from '../support/eventually.ts';
import { assertSameBytes } from '../support/request-bytes.ts';
import { RestartingServer } from '../support/restarting-server.ts';
import { SERVER_ENGINES } from '../support/served-disk.ts';

const SIZE_BYTES = 4 * 1024 * 1024;
const KILLS = 8;
const LANES = 96;
const QUEUES = 2;

suite('a server that is killed under load', () => {
  const ways = SERVER_ENGINES.flatMap((way) => [false, true].map((packed) => ({ ...way, packed })));
  for (const { engine, skip, packed } of ways) {
    const how = `${engine}${packed ? ', packed' : ''}`;
    test(`and started again, many times: every request succeeds, once (${how})`, {
      skip,
    }, async () => {
      const args = [`--engine=${engine}`, `--num-queues=${QUEUES}`];
      await using server = await RestartingServer.start(SIZE_BYTES, args);
      using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 5, packed });
      await device.connect();
      // Fewer than there are lanes: some requests wait for room on the ring.
      device.set('queue-size', 32);
      device.set('num-queues', QUEUES);
      await device.start();
      const queues = Array.from({ length: QUEUES }, (_, index) => device.asyncQueue(index));
      const load = new ClientLoad(queues, SIZE_BYTES, LANES);
      for (let kill = 0; kill < KILLS; kill++) {
        const before = load.done;
        await eventually('requests are done', () => load.done > before + LANES);
        const [disconnected, reconnected] = [
          nextEvent(device, 'disconnect'),
          nextEvent(device, 'reconnect'),
        ];
        await server.kill();
        const [reason] = await disconnected;
        assert.equal(reason.code, 'ECONNRESET');
        await server.start();
        await reconnected;
      }
      const model = await load.stop();
      assertSameBytes(server.readImage(), model, 'the image');
    });
  }

  test('and nobody waits for it: all that is under way fails, later ones at once', async () => {
    await using server = await RestartingServer.start(SIZE_BYTES);
    using device = vhostUserDevice(server.socketPath);
    await device.connect();
    await device.start();
    const queue = device.asyncQueue(0);
    await failUnderLoad(queue, () => server.kill());
    await server.start();
    await assertFails(queue.read(0, new Uint8Array(512)), 'ECONNRESET');
    assert.equal(queue.outstanding, 0);
  });

  test('and does not come back within the limit', async () => {
    await using server = await RestartingServer.start(SIZE_BYTES);
    const properties = { 'reconnect-ms': 1, 'reconnect-limit': 4 };
    using device = vhostUserDevice(server.socketPath, properties);
    await device.connect();
    await device.start();
    const queue = device.asyncQueue(0);
    await failUnderLoad(queue, () => server.kill());
    await assertFails(queue.flush(), 'ECONNRESET');
  });
});

/** Requests all the time, on all slots and in line, until each has failed or succeeded. */
async function failUnderLoad(queue: AsyncQueue, kill: () => Promise<void>): Promise<void> {
  let done = 0;
  let failed = 0;
  const lanes = Array.from({ length: 600 }, async (_, lane) => {
    const buffer = new Uint8Array(4096);
    for (;;) {
      try {
        await queue.write(lane * 4096, buffer);
        done += 1;
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
        failed += 1;
        return;
      }
    }
  });
  await eventually('requests are done', () => done > 1000);
  await kill();
  await Promise.all(lanes);
  assert.equal(failed, 600, 'each has failed once');
}
