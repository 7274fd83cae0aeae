/** Flushes and FUA, and what becomes of them where the back-end has nothing to flush. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type AsyncQueue, CompletionList } from '../../src/blkio/index.ts';
import { RequestType } from '../../src/virtio-blk/index.ts';
import {
  assertFails,
  nextEvent,
  startedDevice,
  vhostUserDevice,
} from '../support/client-device.ts';
import { eventually } from '../support/eventually.ts';
import { FAKE_FEATURES, FakeBackend, fakeConfig } from '../support/fake-backend.ts';

const FLUSH = 1n << 9n;
const CONFIG_WCE = 1n << 11n;
const WRITE_ZEROES = 1n << 14n;
/** Where the configuration space has the write-back field. */
const WRITE_BACK_AT = 32;
const WITHOUT_FLUSH = (FAKE_FEATURES & ~FLUSH) | WRITE_ZEROES;

/** Types of the requests that come, each answered, until `request` is done. */
async function typesOf(backend: FakeBackend, request: Promise<void>): Promise<number[]> {
  const types: number[] = [];
  let isDone = false;
  const end = request.finally(() => {
    isDone = true;
  });
  await eventually('the request is done', () => {
    const { device } = backend;
    while (types.length < device.availableCount) types.push(device.answer(types.length));
    return isDone;
  });
  await end;
  return types;
}

const REQUESTS: Readonly<Record<string, (queue: AsyncQueue) => Promise<void>>> = {
  write: (queue) => queue.write(0, new Uint8Array(512), { fua: true }),
  zeroes: (queue) => queue.writeZeroes(0, 512, { fua: true }),
  flush: (queue) => queue.flush(),
};

suite('a back-end that offers FLUSH', () => {
  test('is sent one, also behind each request with FUA', async () => {
    using backend = new FakeBackend({ features: FAKE_FEATURES | WRITE_ZEROES });
    const { device, queue } = await startedDevice(backend.socketPath);
    using _device = device;
    assert.equal(device.get('flush-needed'), true);
    assert.deepEqual(await typesOf(backend, REQUESTS.write(queue)), [
      RequestType.OUT,
      RequestType.FLUSH,
    ]);
  });

  for (const [writeBack, isNeeded] of [
    [1, true],
    [0, false],
  ] as const) {
    test(`and CONFIG_WCE, with write-back ${writeBack}: flush-needed is ${isNeeded}`, async () => {
      using backend = new FakeBackend({ features: FAKE_FEATURES | CONFIG_WCE });
      backend.config.writeUInt8(writeBack, WRITE_BACK_AT);
      using device = vhostUserDevice(backend.socketPath);
      await device.connect();
      assert.equal(device.get('flush-needed'), isNeeded);
    });
  }
});

suite('a back-end that does not offer FLUSH', () => {
  for (const [name, types] of [
    ['write', [RequestType.OUT]],
    ['zeroes', [RequestType.WRITE_ZEROES]],
    ['flush', []],
  ] as const) {
    test(`is not sent one: ${name}`, async () => {
      using backend = new FakeBackend({ features: WITHOUT_FLUSH });
      const { device, queue } = await startedDevice(backend.socketPath);
      using _device = device;
      assert.deepEqual(await typesOf(backend, REQUESTS[name](queue)), types);
      assert.equal(queue.outstanding, 0);
    });
  }

  test('a blocking queue need not wait for it', async () => {
    using backend = new FakeBackend({ features: WITHOUT_FLUSH });
    using device = vhostUserDevice(backend.socketPath);
    await device.connect();
    await device.start();
    const queue = device.queue(0);
    queue.flush('token');
    const list = new CompletionList(1);
    // Nobody answers while this thread waits.
    assert.equal(queue.doIo(list, 1), 1);
    assert.deepEqual([list.results[0], list.userData[0]], [0, 'token']);
  });

  test('has flush-needed false, whatever its write-back field says', async () => {
    using backend = new FakeBackend({ features: WITHOUT_FLUSH | CONFIG_WCE });
    backend.config = fakeConfig(8n);
    backend.config.writeUInt8(1, WRITE_BACK_AT);
    using device = vhostUserDevice(backend.socketPath);
    await device.connect();
    assert.equal(device.get('flush-needed'), false);
  });

  test('and is gone: flushes fail as all else does', async () => {
    using backend = new FakeBackend({ features: WITHOUT_FLUSH });
    const { device, queue } = await startedDevice(backend.socketPath);
    using _device = device;
    const told = nextEvent(device, 'disconnect');
    backend.hangUp();
    await told;
    await assertFails(queue.flush(), 'ECONNRESET');
  });
});
