/** Connecting a device to something that is not the back-end it should be. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { listenUnix } from '../../src/sys/index.ts';
import { asNobody } from '../support/as-nobody.ts';
import { assertFails, failureOf, vhostUserDevice } from '../support/client-device.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import {
  answer,
  FAKE_FEATURES,
  FAKE_PROTOCOL_FEATURES,
  FakeBackend,
  type FakeBackendOptions,
  fakeConfig,
  type Reaction,
} from '../support/fake-backend.ts';
import { messagesOfSetUp, setUp, withEachMessage } from '../support/fake-set-up.ts';
import { packed, rawFrame } from '../support/raw-frontend.ts';

const VERSION_1 = 1n << 32n;
const RING_PACKED = 1n << 34n;
const PROTOCOL_FEATURES = 1n << 30n;
const CONFIG = 1n << 9n;
const REPLY_ACK = 1n << 3n;

/** Run `use` with a folder that is removed afterwards. */
async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'blkio-connect-'));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

suite('a socket that is none', () => {
  test('no file', () =>
    withFolder(async (folder) => {
      using device = vhostUserDevice(join(folder, 'none'));
      const error = await assertFails(device.connect(), 'ENOENT');
      assert.match(error.message, /none/, 'the path is named');
      assert.equal(device.state, 'created');
    }));

  test('nobody listens', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'socket');
      listenUnix(path, 1).close();
      using device = vhostUserDevice(path);
      await assertFails(device.connect(), 'ECONNREFUSED');
    }));

  test('a regular file', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'file');
      writeFileSync(path, 'no socket');
      using device = vhostUserDevice(path);
      await assertFails(device.connect(), 'ECONNREFUSED');
    }));

  test('no permission to connect', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'socket');
      using _listener = listenUnix(path, 1);
      chmodSync(path, 0o400);
      chmodSync(folder, 0o755);
      using device = vhostUserDevice(path);
      const error = await asNobody(() => assertFails(device.connect(), 'EACCES'));
      assert.match(error.message, /permission denied/);
    }));

  test('links that lead in a circle', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'link');
      symlinkSync(path, path);
      using device = vhostUserDevice(path);
      // Codes that say nothing to users of a device are in the message.
      const error = await assertFails(device.connect(), 'EIO');
      assert.match(error.message, /ELOOP/);
    }));

  test('a path that is too long', async () => {
    using device = vhostUserDevice(`/tmp/${'x'.repeat(120)}`);
    await assertFails(device.connect(), 'EINVAL');
  });

  test('no path', async () => {
    using device = vhostUserDevice('');
    await assertFails(device.connect(), 'EINVAL');
  });

  test('nobody accepts, and then the queue of connections is full', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'socket');
      using _listener = listenUnix(path, 0);
      using first = vhostUserDevice(path, { 'timeout-ms': 50 });
      await assertFails(first.connect(), 'ETIMEDOUT');
      const devices = [1, 2, 3].map(() => vhostUserDevice(path, { 'timeout-ms': 50 }));
      const errors = await Promise.all(devices.map((device) => failureOf(device.connect())));
      const codes = errors.map(({ code }) => code);
      assert.ok(codes.includes('EBUSY'), codes.join());
      for (const device of devices) device.close();
    }));
});

/** What a back-end offers, what is wrong with it, and how that is said. */
const OFFERS: readonly (readonly [string, FakeBackendOptions, Buffer, string, RegExp])[] = [
  [
    'no VERSION_1',
    { features: FAKE_FEATURES & ~VERSION_1 },
    fakeConfig(8n),
    'ENOTSUP',
    /VERSION_1/,
  ],
  [
    'no PROTOCOL_FEATURES',
    { features: FAKE_FEATURES & ~PROTOCOL_FEATURES },
    fakeConfig(8n),
    'ENOTSUP',
    /CONFIG/,
  ],
  [
    'no CONFIG',
    { protocolFeatures: FAKE_PROTOCOL_FEATURES & ~CONFIG },
    fakeConfig(8n),
    'ENOTSUP',
    /CONFIG/,
  ],
  ['no features at all', { features: 0n }, fakeConfig(8n), 'ENOTSUP', /CONFIG/],
  ['no queues', { queues: 0n }, fakeConfig(8n), 'EPROTO', /queues/],
  ['no queues in its configuration', {}, fakeConfig(8n, 0), 'EPROTO', /queues/],
  ['a capacity beyond all bounds', {}, fakeConfig(2n ** 64n - 1n), 'EPROTO', /capacity/],
  ['blocks of no bytes', {}, fakeConfig(8n, 1, 0), 'EPROTO', /blocks of 0/],
  ['blocks of 513 bytes', {}, fakeConfig(8n, 1, 513), 'EPROTO', /blocks of 513/],
];

suite('a back-end with', () => {
  for (const [name, options, config, code, text] of OFFERS) {
    test(name, async () => {
      using backend = new FakeBackend(options);
      backend.config = config;
      using device = vhostUserDevice(backend.socketPath);
      const error = await assertFails(device.connect(), code);
      assert.match(error.message, text);
      assert.ok(error.message.includes(backend.socketPath), 'the path is named');
    });
  }

  test('no packed rings, though they are asked for', async () => {
    using backend = new FakeBackend({ features: FAKE_FEATURES & ~RING_PACKED });
    using device = vhostUserDevice(backend.socketPath, { packed: true });
    const error = await assertFails(device.connect(), 'ENOTSUP');
    assert.match(error.message, /packed rings \(RING_PACKED\)$/);
    device.set('packed', false);
    await device.connect();
  });

  test('packed rings and split ones, of which split ones are taken', async () => {
    using backend = new FakeBackend({ features: FAKE_FEATURES | RING_PACKED });
    const accepted: bigint[] = [];
    backend.script = ({ name, payload }) => {
      if (name === 'SET_FEATURES') accepted.push(payload.readBigUInt64LE(0));
      return 'usual';
    };
    using device = vhostUserDevice(backend.socketPath);
    await device.connect();
    assert.deepEqual(
      accepted.map((features) => features & RING_PACKED),
      [0n],
    );
  });

  test('unknown bits, and no acknowledgements, will do', async () => {
    const features = FAKE_FEATURES | (1n << 50n) | (1n << 63n);
    const protocolFeatures = (FAKE_PROTOCOL_FEATURES | (1n << 60n)) & ~REPLY_ACK;
    using backend = new FakeBackend({ features, protocolFeatures });
    using device = vhostUserDevice(backend.socketPath);
    await device.connect();
    await device.start();
    assert.equal(device.capacityBytes, 2048 * 512);
  });
});

/** Bytes for an answer, made from what the answer should be to. */
type BadAnswer = (id: number) => Reaction;

/** Messages that are answered, what is wrong with the answer, and what comes of it. */
const BAD_ANSWERS: readonly (readonly [string, BadAnswer, string])[] = [
  ['an answer without bytes', (id) => answer(id, Buffer.alloc(0)), 'EPROTO'],
  ['an answer of 7 bytes', (id) => answer(id, Buffer.alloc(7)), 'EPROTO'],
  ['an answer of 300 bytes', (id) => answer(id, Buffer.alloc(300)), 'EPROTO'],
  ['an answer of 4 GiB', (id) => answer(id, Buffer.alloc(8), 0xffff_ffff), 'EPROTO'],
  ['the answer to another message', () => answer(99, packed(0n)), 'EPROTO'],
  ['a request for an answer', (id) => rawFrame(id, packed(0n)), 'EPROTO'],
  ['version 2', (id) => rawFrame(id, packed(0n), 2 | 4), 'EPROTO'],
  ['half an answer', (id) => answer(id, packed(0n)).subarray(0, 15), 'ETIMEDOUT'],
  ['half a header', (id) => answer(id, packed(0n)).subarray(0, 5), 'ETIMEDOUT'],
  ['garbage', () => Buffer.alloc(64, 0xa5), 'EPROTO'],
  ['silence', () => 'silence', 'ETIMEDOUT'],
];

suite('connecting, with a bad answer to each message in turn', () => {
  for (const [name, badAnswer, code] of BAD_ANSWERS) {
    test(name, async () => {
      const before = await steadyDescriptors();
      await withEachMessage(async (backend, at) => {
        using device = vhostUserDevice(backend.socketPath);
        if (code === 'ETIMEDOUT') device.set('timeout-ms', 50);
        backend.script = (message) =>
          message.number === at && message.isAsking ? badAnswer(message.id) : 'usual';
        await assertFails(setUp(device), code);
        assert.equal(device.state, 'created');
        backend.script = () => 'usual';
        device.set('timeout-ms', 10_000);
        await setUp(device);
        assert.equal(
          device.capacityBytes,
          2048 * 512,
          'the next attempt finds all as it should be',
        );
      });
      await untilDescriptors(before);
    });
  }

  test('a refusal', async () => {
    await withEachMessage(async (backend, at, message) => {
      if (message.startsWith('GET_')) return;
      using device = vhostUserDevice(backend.socketPath);
      backend.script = ({ number }) => (number === at ? 'refuse' : 'usual');
      const error = await assertFails(setUp(device), 'EPROTO');
      assert.ok(error.message.includes(`${message} was refused`), error.message);
      backend.script = () => 'usual';
      await setUp(device);
    });
  });
});

suite('connecting to a back-end that hangs up', () => {
  for (const [name, protocolFeatures] of [
    ['with acknowledgements', FAKE_PROTOCOL_FEATURES],
    ['without', FAKE_PROTOCOL_FEATURES & ~REPLY_ACK],
  ] as const) {
    test(`under each message in turn, ${name}`, async () => {
      const before = await steadyDescriptors();
      const names = await messagesOfSetUp({ protocolFeatures });
      const last = names.length - 1;
      // What nobody waits for may be the last thing that is heard: then the start succeeds.
      const isTold = (at: number): boolean => at < last || (protocolFeatures & REPLY_ACK) !== 0n;
      for (let at = 0; at <= last; at++) {
        using backend = new FakeBackend({ protocolFeatures });
        backend.script = ({ number }) => (number === at ? 'hang up' : 'usual');
        using device = vhostUserDevice(backend.socketPath);
        const outcome = setUp(device);
        if (isTold(at) && names[at].startsWith('GET_')) await assertFails(outcome, 'ECONNRESET');
        else if (isTold(at)) await outcome.catch((error) => assert.equal(error.code, 'ECONNRESET'));
        if (device.state === 'started') continue;
        backend.script = () => 'usual';
        await setUp(device);
      }
      await untilDescriptors(before);
    });
  }

  test('between connect and start', async () => {
    using backend = new FakeBackend();
    using device = vhostUserDevice(backend.socketPath, { 'reconnect-ms': 1 });
    await device.connect();
    backend.hangUp();
    await assertFails(device.start(), 'ECONNRESET');
    assert.equal(device.state, 'created');
    await setUp(device);
    assert.equal(backend.connections, 2, 'before the start nothing is done by itself');
  });
});

suite('calls at the same time', () => {
  test('make one connection, and start the ring once', async () => {
    using backend = new FakeBackend();
    using device = vhostUserDevice(backend.socketPath);
    await Promise.all([device.connect(), device.connect()]);
    await Promise.all([device.start(), device.start()]);
    assert.equal(backend.connections, 1);
    assert.equal(backend.messages.filter((name) => name === 'SET_VRING_KICK').length, 1);
  });
});
