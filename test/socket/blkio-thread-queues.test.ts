/** Queues of a vhost-user device in other threads, when the back-end or the device goes away. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { adoptQueue, CompletionList } from '../../src/blkio/index.ts';
import { loadBytes } from '../support/blocking-load.ts';
import { nextEvent, vhostUserDevice } from '../support/client-device.ts';
import { ClientLoad } from '../support/client-load.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import { eventually } from '../support/eventually.ts';
import { FakeBackend } from '../support/fake-backend.ts';
import { assertLoadsKept, replaceServer } from '../support/loads-over-kills.ts';
import { QueueThread } from '../support/queue-threads.ts';
import { assertSameBytes } from '../support/request-bytes.ts';
import { RestartingServer } from '../support/restarting-server.ts';

// More than a ring has room for: some requests wait for it.
const LANES = 40;
const QUEUE_SIZE = 32;
const PART_BYTES = loadBytes(LANES);
const KILLS = 8;
const ECONNRESET = -104;
const ENOTCONN = -107;
const EIO = -5;

suite('a server that is killed, with queues in several threads', () => {
  test('and started again, many times: every request succeeds, once', async () => {
    const args = ['--num-queues=4'];
    await using server = await RestartingServer.start(4 * PART_BYTES, args);
    using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 5 });
    await device.connect();
    device.set('queue-size', QUEUE_SIZE);
    device.set('num-queues', 3);
    device.set('num-poll-queues', 1);
    await device.start();
    const plan = { lanes: LANES };
    const own = new ClientLoad([device.asyncQueue(0)], PART_BYTES, LANES);
    const threads = [
      new QueueThread(device.shareQueue(1), { ...plan, startBytes: PART_BYTES }),
      new QueueThread(device.shareQueue(2), {
        ...plan,
        startBytes: 2 * PART_BYTES,
        mode: 'promises',
      }),
      new QueueThread(device.sharePollQueue(0), { ...plan, startBytes: 3 * PART_BYTES }),
    ];
    const all = [own, ...threads];
    for (let kill = 0; kill < KILLS; kill++) {
      const before = all.map(({ done }) => done);
      await eventually('each thread has done requests', () =>
        all.every(({ done }, index) => done > before[index] + LANES),
      );
      await replaceServer(server, device);
    }
    await assertLoadsKept(own, threads, () => server.readImage());
  });

  test('and nobody waits for it: all that is under way fails', async () => {
    await using server = await RestartingServer.start(2 * PART_BYTES, ['--num-queues=2']);
    using device = vhostUserDevice(server.socketPath);
    await device.connect();
    device.set('num-queues', 2);
    await device.start();
    const threads = [
      new QueueThread(device.shareQueue(0), { lanes: LANES, startBytes: 0 }),
      new QueueThread(device.shareQueue(1), {
        ...{ lanes: LANES, startBytes: PART_BYTES },
        mode: 'promises',
      }),
    ];
    await eventually('requests are done', () => threads.every(({ done }) => done > LANES));
    await server.kill();
    const [blocking, promises] = await Promise.all(threads.map(({ outcome }) => outcome));
    assert.deepEqual(
      blocking.failures,
      Array.from({ length: LANES }, () => ECONNRESET),
    );
    assert.deepEqual(
      promises.failures,
      Array.from({ length: LANES }, () => 'ECONNRESET'),
    );
  });
});

suite('a queue in another thread', () => {
  test('that is closed while its back-end is away holds nobody up', async () => {
    await using server = await RestartingServer.start(2 * PART_BYTES, ['--num-queues=2']);
    using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 5 });
    await device.connect();
    device.set('num-queues', 2);
    await device.start();
    const queue = adoptQueue(device.shareQueue(0));
    const own = new ClientLoad([device.asyncQueue(1)], PART_BYTES, LANES);
    const told = nextEvent(device, 'disconnect');
    await server.kill();
    await told;
    queue.close();
    const back = nextEvent(device, 'reconnect');
    await server.start();
    await back;
    const before = own.done;
    await eventually('requests are done', () => own.done > before + LANES);
    const model = await own.stop();
    assertSameBytes(server.readImage().subarray(0, PART_BYTES), model, 'the image');
  });

  test('whose ring is broken fails, and with it the device', async () => {
    const before = await steadyDescriptors();
    {
      using backend = new FakeBackend();
      using device = vhostUserDevice(backend.socketPath, { 'reconnect-ms': 1 });
      await device.connect();
      await device.start();
      const thread = new QueueThread(device.shareQueue(0), { lanes: 3, startBytes: 0 });
      await eventually('requests are there', () => backend.device.availableCount === 3);
      const told = nextEvent(device, 'disconnect');
      backend.device.use(256);
      const [reason] = await told;
      assert.equal(reason.code, 'EPROTO');
      assert.match(reason.message, /queue 0: the back-end has used a chain/);
      assert.deepEqual((await thread.outcome).failures, [EIO, EIO, EIO]);
      assert.equal(backend.connections, 1, 'who breaks rings is not asked again');
    }
    await untilDescriptors(before);
  });

  test('that waits learns that the device is closed', async () => {
    using backend = new FakeBackend();
    const device = vhostUserDevice(backend.socketPath);
    await device.connect();
    await device.start();
    const thread = new QueueThread(device.shareQueue(0), { lanes: 3, startBytes: 0 });
    await eventually('requests are there', () => backend.device.availableCount === 3);
    device.close();
    assert.deepEqual((await thread.outcome).failures, [ENOTCONN, ENOTCONN, ENOTCONN]);
  });

  test('is given away while there is no back-end, and works once there is', async () => {
    await using server = await RestartingServer.start(PART_BYTES);
    using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 5 });
    await device.connect();
    await device.start();
    const told = nextEvent(device, 'disconnect');
    await server.kill();
    await told;
    const thread = new QueueThread(device.shareQueue(0), { lanes: LANES, startBytes: 0 });
    await server.start();
    await eventually('requests are done', () => thread.done > LANES);
    const { failures, model } = await thread.stop();
    assert.deepEqual(failures, []);
    assertSameBytes(server.readImage(), model, 'the image');
  });

  test('is out of use once the device was given up', async () => {
    using backend = new FakeBackend();
    using device = vhostUserDevice(backend.socketPath);
    await device.connect();
    await device.start();
    const told = nextEvent(device, 'disconnect');
    backend.hangUp();
    await told;
    const queue = adoptQueue(device.shareQueue(0));
    queue.read(0, new Uint8Array(512));
    const completions = new CompletionList(1);
    queue.doIo(completions, 1);
    assert.equal(completions.results[0], ECONNRESET);
    queue.close();
  });
});
