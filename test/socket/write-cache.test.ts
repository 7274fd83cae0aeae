/**
 * The write cache, across servers: a driver that has switched it off gets stable writes from the
 * next server too, though its front-end says nothing (QEMU) or says it again (the client library).
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BlockDriver } from '../../src/testing/index.ts';
import type { Frontend, InflightMemory } from '../../src/vhost-user/index.ts';
import { CONFIG_BYTES, ConfigOffset, RequestType } from '../../src/virtio-blk/index.ts';
import { nextEvent, startedDevice } from '../support/client-device.ts';
import { isStableAfter, missingStableCounts, unstablePages } from '../support/page-cache.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { RestartingServer } from '../support/restarting-server.ts';
import { DriverHost } from '../support/served-disk.ts';

const skip = missingStableCounts();
const SIZE_BYTES = 1024 * 1024;
const QUEUE_SIZE = 128;
const CAUTIOUS = /whether the driver relies on stable writes is not known/;
const MIGRATION = 1;

/** A server with a disk in the cache, and drivers of it. */
class Place implements AsyncDisposable {
  readonly server: RestartingServer;
  readonly #host: DriverHost;

  static async start(args: readonly string[] = []): Promise<Place> {
    return new Place(await RestartingServer.start(SIZE_BYTES, args));
  }

  private constructor(server: RestartingServer) {
    this.server = server;
    this.#host = new DriverHost(server.socketPath);
  }

  connect(prepare?: (frontend: Frontend) => Promise<unknown>): Promise<BlockDriver> {
    return this.#host.connect({ queueSize: QUEUE_SIZE, ...(prepare ? { prepare } : {}) });
  }

  /** Whether a write is stable when it completes. */
  async isStable(driver: BlockDriver): Promise<boolean> {
    this.server.sync();
    assert.equal(unstablePages(this.server.imagePath), 0);
    return isStableAfter(this.server.imagePath, () => driver.write(0, patternBytes(16 * 4096)));
  }

  async replace(): Promise<void> {
    await this.server.kill();
    await this.server.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#host.close();
    await this.server[Symbol.asyncDispose]();
  }
}

function setWriteback(frontend: Frontend, value: number): Promise<void> {
  return frontend.writeConfig(ConfigOffset.WRITEBACK, Uint8Array.of(value));
}

/** As QEMU does when the device is realized and its driver starts; memory to keep. */
async function begin(frontend: Frontend): Promise<InflightMemory> {
  await frontend.readConfig(0, 60);
  const memory = await frontend.getInflight(1, QUEUE_SIZE);
  await frontend.setInflight(memory);
  return memory;
}

/** As QEMU does when it connects again: it reads nothing. */
async function goOn(): Promise<void> {}

suite('the write cache, over servers that follow one another', { skip }, () => {
  for (const [value, what] of [
    [0, 'off'],
    [1, 'on'],
  ] as const) {
    test(`switched ${what}, it is so with the next server, and the one after that`, async () => {
      await using place = await Place.start();
      let memory: InflightMemory | undefined;
      const first = await place.connect(async (frontend) => {
        memory = await begin(frontend);
      });
      await setWriteback(first.connection.frontend, 1 - value);
      await setWriteback(first.connection.frontend, value);
      first.close();
      // Servers without requests: what is written down of them would not fit the next one's ring.
      await place.replace();
      const adopt = (frontend: Frontend): Promise<void> =>
        frontend.setInflight(memory as InflightMemory);
      (await place.connect(adopt)).close();
      await place.replace();
      const last = await place.connect(adopt);
      assert.equal(await place.isStable(last), value === 0);
      const config = await last.connection.readConfig();
      assert.equal(config.getUint8(ConfigOffset.WRITEBACK), value);
      assert.doesNotMatch(place.server.stderr, CAUTIOUS);
      memory?.fd.close();
    });
  }

  test('never switched, it stays what it was at the beginning', async () => {
    await using place = await Place.start();
    let memory: InflightMemory | undefined;
    (
      await place.connect(async (frontend) => {
        memory = await begin(frontend);
      })
    ).close();
    await place.replace();
    const next = await place.connect((frontend) => frontend.setInflight(memory as InflightMemory));
    assert.equal(await place.isStable(next), false);
    assert.doesNotMatch(place.server.stderr, CAUTIOUS);
    memory?.fd.close();
  });

  test('nobody has kept it: writes are stable until the driver flushes, or says', async () => {
    await using place = await Place.start();
    const driver = await place.connect(goOn);
    assert.equal(await place.isStable(driver), true);
    await place.server.logged(CAUTIOUS);
    await driver.request({ type: RequestType.FLUSH });
    assert.equal(await place.isStable(driver), false);
    driver.close();
    const next = await place.connect(goOn);
    assert.equal(await place.isStable(next), true);
    await setWriteback(next.connection.frontend, 1);
    assert.equal(await place.isStable(next), false);
    await setWriteback(next.connection.frontend, 0);
    await next.request({ type: RequestType.FLUSH });
    assert.equal(await place.isStable(next), true);
  });

  test('a driver without the feature flushes, whoever served it before', async () => {
    await using place = await Place.start();
    const features = (2n ** 64n - 1n) & ~(1n << 11n) & ~(1n << 26n) & ~(1n << 34n);
    const host = new DriverHost(place.server.socketPath);
    const driver = await host.connect({ prepare: goOn, features });
    assert.equal(await place.isStable(driver), false);
    host.close();
  });
});

suite('the whole configuration space, restored by a migration', { skip }, () => {
  for (const sizeBytes of [60, CONFIG_BYTES]) {
    for (const value of [0, 1]) {
      test(`${sizeBytes} bytes, writeback ${value}: nothing else changes`, async () => {
        await using place = await Place.start();
        let before = new Uint8Array();
        const driver = await place.connect(async (frontend) => {
          before = Uint8Array.from(await frontend.readConfig(0, CONFIG_BYTES));
          // Of a device with another capacity, other limits, more queues.
          const bytes = before.slice(0, sizeBytes).map((byte) => byte ^ 0xff);
          bytes[ConfigOffset.WRITEBACK] = value;
          const payload = { offset: 0, size: sizeBytes, flags: MIGRATION, bytes };
          await frontend.session.request('SET_CONFIG', payload);
        });
        const after = await driver.connection.frontend.readConfig(0, CONFIG_BYTES);
        const expected = before.slice();
        expected[ConfigOffset.WRITEBACK] = value;
        assert.deepEqual(Uint8Array.from(after), expected);
        assert.equal(await place.isStable(driver), value === 0);
      });
    }
  }

  test('a part without the field restores nothing', async () => {
    await using place = await Place.start();
    const driver = await place.connect(async (frontend) => {
      const payload = { offset: 0, size: 8, flags: MIGRATION, bytes: new Uint8Array(8) };
      await frontend.session.request('SET_CONFIG', payload);
    });
    assert.equal(await place.isStable(driver), true);
    await place.server.logged(CAUTIOUS);
  });
});

test('the client library has writes stay stable when the next server has a cache', {
  skip,
}, async () => {
  await using server = await RestartingServer.start(SIZE_BYTES, ['--cache=writethrough']);
  const { device, queue } = await startedDevice(server.socketPath, { 'reconnect-ms': 1 });
  using _device = device;
  assert.equal(device.get('flush-needed'), false);
  const told = nextEvent(device, 'reconnect');
  await server.kill();
  await server.start(['--cache=writeback']);
  await told;
  assert.equal(device.get('flush-needed'), false);
  server.sync();
  await queue.write(0, patternBytes(16 * 4096));
  assert.equal(unstablePages(server.imagePath), 0);
});
