/**
 * Completion descriptors of devices whose back-end goes away: whoever sleeps until one is readable
 * learns of it, and sleeps no longer than it takes to come back.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  adoptQueue,
  type Blkio,
  CompletionList,
  type PropertyValue,
  type Queue,
} from '../../src/blkio/index.ts';
import { isSignalled } from '../../src/sys/index.ts';
import { SERVER_PLACE } from '../support/blkio-place.ts';
import { resultName, withCode } from '../support/blkio-queue-results.ts';
import { loadBytes } from '../support/blocking-load.ts';
import { chooseEngine } from '../support/chosen-engine.ts';
import { nextEvent, vhostUserDevice } from '../support/client-device.ts';
import { ENGINES } from '../support/disk-session.ts';
import { EventDrivenLoad, loadContent } from '../support/event-driven-load.ts';
import { eventually } from '../support/eventually.ts';
import { FakeBackend } from '../support/fake-backend.ts';
import { replaceServer } from '../support/loads-over-kills.ts';
import { QueueThread } from '../support/queue-threads.ts';
import { awaitReadable } from '../support/readable-descriptor.ts';
import { assertSameBytes } from '../support/request-bytes.ts';
import { RestartingServer } from '../support/restarting-server.ts';

const UNIT = 4096;
const REQUESTS = 300;
const QUEUE_SIZE = 256;
const LANES = 40;
const PART_BYTES = loadBytes(LANES);
const KILLS = 8;

/** A started device with one queue, its descriptor enabled. */
async function start(
  socketPath: string,
  properties: Readonly<Record<string, PropertyValue>> = {},
): Promise<{ device: Blkio; queue: Queue; [Symbol.dispose](): void }> {
  const device = vhostUserDevice(socketPath, properties);
  await device.connect();
  device.set('queue-size', QUEUE_SIZE);
  await device.start();
  const queue = device.queue(0, { completionFd: true });
  queue.setCompletionFdEnabled(true);
  return { device, queue, [Symbol.dispose]: () => device.close() };
}

/** Requests that a back-end which does nothing any more has; some wait for a slot. */
function ask(queue: Queue): void {
  for (let index = 0; index < REQUESTS; index++) queue.read(0, new Uint8Array(UNIT), index);
  assert.equal(queue.doIo(new CompletionList(REQUESTS), 0), 0);
}

/** Take completions, sleeping in between, until all requests have ended. Returns their results. */
function takeAll(queue: Queue): string[] {
  const list = new CompletionList(REQUESTS);
  const results: string[] = [];
  while (queue.outstanding > 0) {
    if (queue.doIo(list, 0) === 0) awaitReadable(queue.completionFd);
    results.push(...Array.from(list.results.subarray(0, list.count), resultName));
  }
  return results;
}

/** Sleep and look until `doIo` says that the device is out of reach. */
function awaitLoss(queue: Queue): void {
  const list = new CompletionList(1);
  for (;;) {
    awaitReadable(queue.completionFd);
    try {
      assert.equal(queue.doIo(list, 0), 0);
    } catch (error) {
      withCode('ENOTCONN')(error);
      return;
    }
  }
}

function all(result: string): string[] {
  return new Array<string>(REQUESTS).fill(result);
}

for (const { engine, skip } of ENGINES) {
  suite(`a back-end that dies while its client sleeps, ${engine}`, { skip }, () => {
    chooseEngine(engine);

    test('wakes it: what is under way fails', async () => {
      await using disk = await SERVER_PLACE.start();
      using client = await start(disk.path);
      const { queue } = client;
      await disk.pauseBackend();
      ask(queue);
      void disk.killBackend();
      assert.deepEqual(takeAll(queue), all('ECONNRESET'));
      queue.flush();
      awaitReadable(queue.completionFd);
      assert.deepEqual(takeAll(queue), ['ECONNRESET']);
    });

    test('leaves the descriptor readable if the event loop sees it first', async () => {
      await using disk = await SERVER_PLACE.start();
      using client = await start(disk.path);
      const { device, queue } = client;
      await disk.pauseBackend();
      ask(queue);
      const told = nextEvent(device, 'disconnect');
      await disk.killBackend();
      await told;
      assert.ok(isSignalled(queue.completionFd));
      assert.deepEqual(takeAll(queue), all('ECONNRESET'));
    });

    test('has doIo say that the event loop is needed, and all succeeds', async () => {
      await using server = await RestartingServer.start(PART_BYTES);
      using client = await start(server.socketPath, { 'reconnect-ms': 5 });
      const { device, queue } = client;
      for (const isSeenFirst of [false, true]) {
        const told = nextEvent(device, 'disconnect');
        void server.kill();
        if (isSeenFirst) await told;
        queue.write(0, new Uint8Array(UNIT));
        if (isSeenFirst) assert.ok(isSignalled(queue.completionFd));
        awaitLoss(queue);
        await server.kill();
        const back = nextEvent(device, 'reconnect');
        await server.start();
        await back;
        awaitReadable(queue.completionFd);
        assert.deepEqual(takeAll(queue), ['OK']);
      }
    });

    test('says so only to those who would sleep for nothing', async () => {
      await using server = await RestartingServer.start(PART_BYTES);
      using client = await start(server.socketPath, { 'reconnect-ms': 1000 });
      const { device, queue } = client;
      const told = nextEvent(device, 'disconnect');
      await server.kill();
      await told;
      const list = new CompletionList(1);
      assert.equal(queue.doIo(list, 0), 0, 'nothing is outstanding');
      queue.read(0, new Uint8Array(UNIT));
      queue.setCompletionFdEnabled(false);
      assert.equal(queue.doIo(list, 0), 0, 'not the event-driven way');
      queue.setCompletionFdEnabled(true);
      queue.read(-UNIT, new Uint8Array(UNIT));
      assert.equal(queue.doIo(list, 0, 0), 0, 'there is something to take');
      assert.equal(queue.doIo(list, 0), 1, 'something was taken');
      for (let round = 0; round < 3; round++) {
        assert.throws(() => queue.doIo(list, 0), withCode('ENOTCONN'));
      }
    });

    test('and does not come back: requests fail when the device is given up', async () => {
      await using server = await RestartingServer.start(PART_BYTES);
      const properties = { 'reconnect-ms': 1, 'reconnect-limit': 2 };
      using client = await start(server.socketPath, properties);
      const { queue } = client;
      void server.kill();
      queue.read(0, new Uint8Array(UNIT));
      awaitLoss(queue);
      await eventually('the device is given up', () => isSignalled(queue.completionFd));
      assert.deepEqual(takeAll(queue), ['ECONNRESET']);
    });

    test('and comes back, many times: every request succeeds, once', async () => {
      await using server = await RestartingServer.start(loadContent().length);
      using client = await start(server.socketPath, { 'reconnect-ms': 5 });
      const { device, queue } = client;
      // What it reads must be there: once, by itself.
      queue.write(0, loadContent());
      assert.deepEqual(takeAll(queue), ['OK']);
      using load = new EventDrivenLoad(queue, { total: Number.POSITIVE_INFINITY, seed: 1 });
      load.takeAll();
      for (let kill = 0; kill < KILLS; kill++) {
        void server.kill();
        assert.throws(() => load.run(), withCode('ENOTCONN'));
        await server.kill();
        const back = nextEvent(device, 'reconnect');
        await server.start();
        await back;
      }
      load.askNoMore();
      load.run();
    });
  });
}

suite('a back-end that breaks the ring', () => {
  for (const [what, breakRing] of [
    ['by its error descriptor', (backend: FakeBackend) => backend.device.signal('SET_VRING_ERR')],
    ['by an impossible entry', (backend: FakeBackend) => backend.device.use(QUEUE_SIZE)],
  ] as const) {
    test(`wakes its client: what is under way fails (${what})`, async () => {
      using backend = new FakeBackend();
      using client = await start(backend.socketPath, { 'reconnect-ms': 1 });
      const { queue } = client;
      queue.read(0, new Uint8Array(UNIT));
      assert.equal(queue.doIo(new CompletionList(1), 0), 0);
      await eventually('the request is there', () => backend.device.availableCount === 1);
      breakRing(backend);
      awaitReadable(queue.completionFd);
      assert.deepEqual(takeAll(queue), ['EIO']);
    });
  }
});

suite('queues in other threads that sleep until a descriptor is readable', () => {
  test('while the server is killed and started again, many times', async () => {
    await using server = await RestartingServer.start(2 * PART_BYTES, ['--num-queues=2']);
    using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 5 });
    await device.connect();
    device.set('queue-size', 32);
    device.set('num-queues', 2);
    await device.start();
    const threads = [0, 1].map(
      (index) =>
        new QueueThread(device.shareQueue(index), {
          mode: 'event-driven',
          lanes: LANES,
          startBytes: index * PART_BYTES,
        }),
    );
    for (let kill = 0; kill < KILLS; kill++) {
      const before = threads.map(({ done }) => done);
      await eventually('each thread has done requests', () =>
        threads.every(({ done }, index) => done > before[index] + LANES),
      );
      await replaceServer(server, device);
    }
    for (const [index, thread] of threads.entries()) {
      const { failures, model } = await thread.stop();
      assert.deepEqual(failures, []);
      const start = index * PART_BYTES;
      const part = server.readImage().subarray(start, start + PART_BYTES);
      assertSameBytes(part, model, `part ${index}`);
    }
  });

  test('learn that the device is closed', async () => {
    using backend = new FakeBackend();
    const device = vhostUserDevice(backend.socketPath);
    await device.connect();
    await device.start();
    const plan = { mode: 'event-driven', lanes: 3, startBytes: 0 } as const;
    const thread = new QueueThread(device.shareQueue(0), plan);
    await eventually('requests are there', () => backend.device.availableCount === 3);
    device.close();
    const names = (await thread.outcome).failures.map((result) => resultName(Number(result)));
    assert.deepEqual(names, ['ENOTCONN', 'ENOTCONN', 'ENOTCONN']);
  });

  test('and poll queues, which have none: ENOTSUP, and the handle stays good', async () => {
    await using disk = await SERVER_PLACE.start();
    const device = await disk.started({}, { 'num-poll-queues': 1 });
    const handle = device.sharePollQueue(0);
    assert.throws(() => adoptQueue(handle, { completionFd: true }), withCode('ENOTSUP'));
    const queue = adoptQueue(handle, { completionFd: false });
    assert.throws(() => queue.completionFd, withCode('ENOTSUP'));
    queue.close();
  });
});
