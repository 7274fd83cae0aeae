/** A back-end that does some requests and hangs up at once: what it has done is not asked again. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type AsyncQueue, type Blkio, CompletionList } from '../../src/blkio/index.ts';
import { RequestType } from '../../src/virtio-blk/index.ts';
import { resultName, WAIT_MS, withCode } from '../support/blkio-queue-results.ts';
import {
  assertFails,
  bounded,
  nextEvent,
  startedDevice,
  vhostUserDevice,
} from '../support/client-device.ts';
import { eventually } from '../support/eventually.ts';
import { FakeBackend } from '../support/fake-backend.ts';

const READS = 16;
const DONE = 10;
const REST = READS - DONE;
const SLOTS = 256;
const RECONNECT = { 'reconnect-ms': 1 };

interface Started {
  readonly backend: FakeBackend;
  readonly device: Blkio;
  readonly queue: AsyncQueue;
}

async function withStarted(
  properties: Readonly<Record<string, number>>,
  use: (started: Started) => Promise<void>,
): Promise<void> {
  using backend = new FakeBackend();
  const { device, queue } = await startedDevice(backend.socketPath, properties);
  using _device = device;
  await use({ backend, device, queue });
}

/** Wait until there are so many chains on the ring of the connection that there is. */
function untilOnRing(backend: FakeBackend, count: number): Promise<boolean> {
  const what = (): string => `${backend.device.availableCount} chains are on the ring`;
  return eventually(what, () => backend.device.availableCount === count);
}

/** Answer chains. The device has no turn before this one is over. */
function answer(backend: FakeBackend, count: number): number[] {
  return Array.from({ length: count }, (_, number) => backend.device.answer(number));
}

/** Make reads, and wait until the back-end sees as many of them as there are slots. */
async function startReads({ backend, queue }: Started, count: number): Promise<Promise<void>[]> {
  const reads = Array.from({ length: count }, () => queue.read(0, new Uint8Array(512)));
  for (const read of reads) read.catch(() => {});
  await untilOnRing(backend, Math.min(count, SLOTS));
  return reads;
}

suite('what a back-end has done before it hung up', () => {
  test('is not asked again', () =>
    withStarted(RECONNECT, async (started) => {
      const { backend, device, queue } = started;
      const reads = await startReads(started, READS);
      const reconnected = nextEvent(device, 'reconnect');
      answer(backend, DONE);
      backend.hangUp();
      await bounded(Promise.all(reads.slice(0, DONE)));
      assert.equal(queue.outstanding, REST);
      await reconnected;
      await untilOnRing(backend, REST);
      answer(backend, REST);
      await bounded(Promise.all(reads));
      assert.equal(backend.device.availableCount, REST, 'each has been asked once');
      assert.equal(queue.outstanding, 0);
    }));

  test('succeeds, and the rest fails, when nobody connects again', () =>
    withStarted({}, async (started) => {
      const reads = await startReads(started, READS);
      answer(started.backend, DONE);
      started.backend.hangUp();
      await bounded(Promise.all(reads.slice(0, DONE)));
      for (const read of reads.slice(DONE)) await assertFails(read, 'ECONNRESET');
    }));

  test('makes room for what waits in line', () =>
    withStarted(RECONNECT, async (started) => {
      const { backend, device, queue } = started;
      const reads = await startReads(started, SLOTS + DONE);
      const reconnected = nextEvent(device, 'reconnect');
      answer(backend, DONE);
      backend.hangUp();
      await reconnected;
      await untilOnRing(backend, SLOTS);
      answer(backend, SLOTS);
      await bounded(Promise.all(reads));
      assert.equal(queue.outstanding, 0);
    }));

  test('and has failed, has failed', () =>
    withStarted(RECONNECT, async (started) => {
      const { backend, device } = started;
      const [failed, other] = await startReads(started, 2);
      const reconnected = nextEvent(device, 'reconnect');
      backend.device.setStatus(backend.device.head(0), 1);
      backend.device.use(backend.device.head(0));
      backend.hangUp();
      await assertFails(failed, 'EIO');
      await reconnected;
      await untilOnRing(backend, 1);
      answer(backend, 1);
      await bounded(other);
    }));

  test('counts, and an entry that cannot be does not', () =>
    withStarted(RECONNECT, async (started) => {
      const { backend, device } = started;
      const reads = await startReads(started, READS);
      const reconnected = nextEvent(device, 'reconnect');
      answer(backend, DONE);
      // Again, and then something that is on no ring.
      backend.device.use(backend.device.head(0));
      backend.device.use(SLOTS + 1);
      backend.hangUp();
      await bounded(Promise.all(reads.slice(0, DONE)));
      await reconnected;
      await untilOnRing(backend, REST);
      answer(backend, REST);
      await bounded(Promise.all(reads));
    }));
});

suite('a write with FUA of which, before the back-end hung up,', () => {
  test('the data was written: it is written again, and flushed', () =>
    withStarted(RECONNECT, async ({ backend, device, queue }) => {
      const write = queue.write(0, new Uint8Array(512), { fua: true });
      await untilOnRing(backend, 1);
      const reconnected = nextEvent(device, 'reconnect');
      answer(backend, 1);
      backend.hangUp();
      await reconnected;
      await untilOnRing(backend, 1);
      assert.equal(backend.device.answer(0), RequestType.OUT);
      await untilOnRing(backend, 2);
      assert.equal(backend.device.answer(1), RequestType.FLUSH);
      await bounded(write);
    }));

  test('the flush was done: it is done', () =>
    withStarted(RECONNECT, async ({ backend, device, queue }) => {
      const write = queue.write(0, new Uint8Array(512), { fua: true });
      await untilOnRing(backend, 1);
      answer(backend, 1);
      await untilOnRing(backend, 2);
      const reconnected = nextEvent(device, 'reconnect');
      backend.device.answer(1);
      backend.hangUp();
      await bounded(write);
      await reconnected;
      assert.equal(queue.outstanding, 0);
      assert.equal(backend.device.availableCount, 0);
    }));
});

suite('a blocking queue of a back-end that hung up', () => {
  test('hands out what was done, then says that the rest takes the event loop', async () => {
    using backend = new FakeBackend();
    using device = vhostUserDevice(backend.socketPath, { 'reconnect-ms': 100_000 });
    await device.connect();
    await device.start();
    const queue = device.queue(0);
    for (let number = 0; number < READS; number++) queue.read(0, new Uint8Array(512), number);
    const list = new CompletionList(READS);
    assert.equal(queue.doIo(list, 0), 0);
    await untilOnRing(backend, READS);
    answer(backend, DONE);
    backend.hangUp();
    assert.equal(queue.doIo(list, DONE, READS, WAIT_MS), DONE);
    assert.deepEqual([...list.results.subarray(0, DONE)].map(resultName), Array(DONE).fill('OK'));
    assert.equal(new Set(list.userData.slice(0, DONE)).size, DONE);
    assert.throws(() => queue.doIo(list, REST, REST, WAIT_MS), withCode('ENOTCONN'));
    assert.equal(queue.outstanding, REST);
  });

  test('and is closed: what was done has succeeded, the rest is ENOTCONN', () =>
    withStarted({ 'reconnect-ms': 100_000 }, async (started) => {
      const reads = await startReads(started, READS);
      answer(started.backend, DONE);
      // The device does not know yet.
      started.backend.hangUp();
      started.device.close();
      await bounded(Promise.all(reads.slice(0, DONE)));
      for (const read of reads.slice(DONE)) await assertFails(read, 'ENOTCONN');
    }));
});
