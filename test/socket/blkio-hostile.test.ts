/** A started device whose back-end breaks the ring, talks nonsense, goes away, or changes. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { AsyncQueue, Blkio } from '../../src/blkio/index.ts';
import { assertFails, nextEvent, startedDevice } from '../support/client-device.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import { eventually } from '../support/eventually.ts';
import {
  answer,
  FAKE_FEATURES,
  FAKE_PROTOCOL_FEATURES,
  FakeBackend,
  fakeConfig,
} from '../support/fake-backend.ts';
import { packed, rawFrame } from '../support/raw-frontend.ts';

const SLOTS = 16;
const CONFIG_CHANGE = rawFrame(2);
const CONFIG_CHANGE_WITH_REPLY = rawFrame(2, undefined, 1 | 8);

interface Started {
  readonly backend: FakeBackend;
  readonly device: Blkio;
  readonly queue: AsyncQueue;
}

/** Run `use` with a started device; then all its descriptors are closed. */
async function withStarted(
  use: (started: Started) => Promise<void>,
  properties: Readonly<Record<string, number>> = {},
): Promise<void> {
  const before = await steadyDescriptors();
  {
    using backend = new FakeBackend();
    const { device, queue } = await startedDevice(backend.socketPath, properties);
    try {
      await use({ backend, device, queue });
    } finally {
      device.close();
    }
  }
  await untilDescriptors(before);
}

/** Reads that are under way, and more of them that wait for a slot. */
async function startReads({ backend, queue }: Started, count: number): Promise<Promise<void>[]> {
  const reads = Array.from({ length: count }, () => queue.read(0, new Uint8Array(512)));
  for (const read of reads) read.catch(() => {});
  const visible = Math.min(count, 256);
  await eventually('the reads are on the ring', () => backend.device.availableCount === visible);
  return reads;
}

/** Ways to break a ring on which there are some chains. */
const BREAKS: readonly (readonly [string, (backend: FakeBackend) => void])[] = [
  ['a head beyond the ring', ({ device }) => device.use(256)],
  ['a head of 32 bits', ({ device }) => device.use(0xffff_ffff)],
  ['a head that is not in flight', ({ device }) => device.use(200)],
  [
    'a head twice',
    ({ device }) => {
      const head = device.head(0);
      device.use(head);
      device.use(head);
    },
  ],
  ['an index far ahead', ({ device }) => device.use(device.head(0), 1000)],
  ['an index that goes back', ({ device }) => device.use(device.head(0), 0xfff0)],
  ['its error counter', ({ device }) => device.signal('SET_VRING_ERR')],
];

suite('a back-end breaks the ring by', () => {
  for (const [name, breakRing] of BREAKS) {
    test(name, () =>
      withStarted(
        async (started) => {
          const { backend, device, queue } = started;
          const reads = await startReads(started, SLOTS);
          const told = nextEvent(device, 'disconnect');
          breakRing(backend);
          const [reason] = await told;
          assert.equal(reason.code, 'EPROTO');
          assert.match(reason.message, /queue 0/);
          const results = await Promise.allSettled(reads);
          const failed = results.filter(({ status }) => status === 'rejected');
          assert.ok(failed.length >= SLOTS - 1, 'one at most was answered');
          await assertFails(reads[SLOTS - 1], 'EIO');
          await assertFails(queue.read(0, new Uint8Array(512)), 'EIO');
          await assertFails(queue.flush(), 'EIO');
          assert.equal(queue.outstanding, 0);
          assert.equal(backend.connections, 1, 'who breaks rings is not asked again');
        },
        { 'reconnect-ms': 1 },
      ),
    );
  }

  for (const [status, code] of [
    [1, 'EIO'],
    [2, 'ENOTSUP'],
    [3, 'EIO'],
    [255, 'EIO'],
  ] as const) {
    test(`nothing, but answers status ${status}`, () =>
      withStarted(async (started) => {
        const { backend, queue } = started;
        const [read] = await startReads(started, 1);
        const { device } = backend;
        device.setStatus(device.head(0), status);
        device.use(device.head(0));
        await assertFails(read, code);
        const [next] = await startReadsAfter(started);
        device.answer(1);
        await next;
        assert.equal(queue.outstanding, 0);
      }));
  }
});

async function startReadsAfter({ backend, queue }: Started): Promise<Promise<void>[]> {
  const read = queue.read(0, new Uint8Array(512));
  await eventually('another read is on the ring', () => backend.device.availableCount === 2);
  return [read];
}

/** Ways to end a connection, and what they are called. */
const ENDS: readonly (readonly [string, (backend: FakeBackend) => void, string])[] = [
  ['hangs up', (backend) => backend.hangUp(), 'ECONNRESET'],
  ['answers unasked', (backend) => backend.say(answer(1, packed(0n))), 'EPROTO'],
  ['sends garbage', (backend) => backend.say(Buffer.alloc(100, 0xff)), 'EPROTO'],
  [
    'does not answer',
    (backend) => {
      backend.script = () => 'silence';
      backend.device.sendConfigChange();
    },
    'ETIMEDOUT',
  ],
];

suite('a back-end that', () => {
  for (const [name, end, code] of ENDS) {
    test(`${name}: everything fails, once, and at once later`, () =>
      withStarted(
        async (started) => {
          const { backend, device, queue } = started;
          // More than there are slots: some wait in line.
          const reads = await startReads(started, 1000);
          let disconnects = 0;
          device.on('disconnect', () => {
            disconnects += 1;
          });
          const told = nextEvent(device, 'disconnect');
          end(backend);
          const [reason] = await told;
          assert.equal(reason.code, code, reason.message);
          for (const read of reads) await assertFails(read, 'ECONNRESET');
          await assertFails(queue.write(0, new Uint8Array(512), { fua: true }), 'ECONNRESET');
          await assertFails(queue.discard(0, 512), 'ENOTSUP');
          assert.equal(queue.outstanding, 0);
          assert.equal(disconnects, 1);
        },
        { 'timeout-ms': 2000 },
      ));
  }

  test('goes away for ever: the limit ends the attempts', () =>
    withStarted(
      async (started) => {
        const { backend, device, queue } = started;
        const reads = await startReads(started, 1000);
        const writes = nextEvent(device, 'disconnect').then(() =>
          queue.write(0, new Uint8Array(512)),
        );
        backend.script = () => 'hang up';
        backend.hangUp();
        for (const read of reads) await assertFails(read, 'ECONNRESET');
        await assertFails(writes, 'ECONNRESET');
        await assertFails(queue.flush(), 'ECONNRESET');
        assert.equal(backend.connections, 1 + 3);
      },
      { 'reconnect-ms': 1, 'reconnect-limit': 3 },
    ));

  test('goes away: closing the device ends what waits for it', () =>
    withStarted(
      async (started) => {
        const { backend, device } = started;
        const reads = await startReads(started, 1000);
        const told = nextEvent(device, 'disconnect');
        backend.hangUp();
        await told;
        device.close();
        for (const read of reads) await assertFails(read, 'ENOTCONN');
      },
      { 'reconnect-ms': 100_000 },
    ));

  test('comes back: what was under way is asked for again', () =>
    withStarted(
      async (started) => {
        const { backend, device } = started;
        const reads = await startReads(started, SLOTS);
        const told = nextEvent(device, 'reconnect');
        backend.script = ({ name }) =>
          name === 'SET_VRING_CALL' && backend.connections < 4 ? 'hang up' : 'usual';
        backend.hangUp();
        assert.deepEqual(await told, [3], 'two attempts failed');
        await eventually('all are on the ring', () => backend.device.availableCount === SLOTS);
        assert.ok(backend.device.takeKick());
        for (let number = 0; number < SLOTS; number++) {
          backend.device.answer(number);
        }
        await Promise.all(reads);
        assert.equal(device.state, 'started');
      },
      { 'reconnect-ms': 1 },
    ));
});

suite('a back-end that comes back as another', () => {
  test('with more features: only those of before are used', () =>
    withBackends({}, { features: FAKE_FEATURES | (1n << 29n) | (1n << 5n) }, async (told) => {
      await told.reconnected;
      const accepted = told.second.acceptedFeatures();
      assert.equal(accepted & ((1n << 29n) | (1n << 5n)), 0n);
    }));

  for (const [name, options, config] of [
    ['fewer features', { features: FAKE_FEATURES & ~(1n << 28n) }, fakeConfig(2048n)],
    ['larger blocks', {}, fakeConfig(2048n, 1, 4096)],
    [
      'no configuration',
      { protocolFeatures: FAKE_PROTOCOL_FEATURES & ~(1n << 9n) },
      fakeConfig(8n),
    ],
  ] as const) {
    test(`with ${name}: it is not taken`, () =>
      withBackends({}, options, async (told) => {
        told.second.config = config;
        await assertFails(told.read, 'ECONNRESET');
      }));
  }

  test('with another size: that is told', () =>
    withBackends({}, {}, async ({ device, second, reconnected }) => {
      second.config = fakeConfig(4096n);
      const changed = nextEvent(device, 'config-change');
      await reconnected;
      await changed;
      assert.equal(device.capacityBytes, 4096 * 512);
    }));
});

interface Replaced {
  readonly device: Blkio;
  readonly second: FakeBackend & { acceptedFeatures(): bigint };
  readonly reconnected: Promise<unknown>;
  readonly read: Promise<void>;
}

/** A device whose back-end goes away, and another one that listens in its place. */
async function withBackends(
  firstOptions: ConstructorParameters<typeof FakeBackend>[0],
  secondOptions: ConstructorParameters<typeof FakeBackend>[0],
  use: (replaced: Replaced) => Promise<void>,
): Promise<void> {
  const first = new FakeBackend(firstOptions);
  const { socketPath } = first;
  const properties = { 'reconnect-ms': 1, 'reconnect-limit': 8 };
  const { device, queue } = await startedDevice(socketPath, properties);
  try {
    const reconnected = nextEvent(device, 'reconnect');
    reconnected.catch(() => {});
    const told = nextEvent(device, 'disconnect');
    const read = queue.read(0, new Uint8Array(512));
    read.catch(() => {});
    first[Symbol.dispose]();
    using second = new FakeBackend({ ...secondOptions, socketPath });
    let accepted = 0n;
    second.script = ({ name, payload }) => {
      if (name === 'SET_FEATURES') accepted = payload.readBigUInt64LE();
      return 'usual';
    };
    await told;
    const extended = Object.assign(second, { acceptedFeatures: () => accepted });
    await use({ device, second: extended, reconnected, read });
  } finally {
    device.close();
  }
}

suite('the configuration changes', () => {
  for (const [name, message] of [
    ['', CONFIG_CHANGE],
    [', and the back-end wants an acknowledgement', CONFIG_CHANGE_WITH_REPLY],
  ] as const) {
    test(`the size is another${name}`, () =>
      withStarted(async ({ backend, device, queue }) => {
        await assertFails(queue.read(2048 * 512, new Uint8Array(512)), 'EINVAL');
        backend.config = fakeConfig(4096n);
        const changed = nextEvent(device, 'config-change');
        backend.device.sayOnBackendChannel(message);
        await changed;
        assert.equal(device.get('capacity'), 4096n * 512n);
        void queue.read(2048 * 512, new Uint8Array(512)).catch(() => {});
        await eventually('the new sectors can be read', () => backend.device.availableCount === 1);
      }));
  }

  test('many times while it is read: it is read once more', () =>
    withStarted(async ({ backend, device }) => {
      const readsBefore = readsOfConfig(backend);
      backend.script = ({ name }) => (name === 'GET_CONFIG' ? 'silence' : 'usual');
      for (let round = 0; round < 100; round++) backend.device.sendConfigChange();
      backend.device.sayOnBackendChannel(CONFIG_CHANGE_WITH_REPLY);
      await eventually('all have been taken', () => backend.device.hasBackendChannelReply());
      assert.equal(readsOfConfig(backend), readsBefore + 1);
      backend.script = () => 'usual';
      backend.config = fakeConfig(77n);
      backend.say(answer(24, Buffer.concat([packed(0, 60, 0), fakeConfig(1n)])));
      await eventually('the last size is known', () => device.capacityBytes === 77 * 512);
      assert.equal(readsOfConfig(backend), readsBefore + 2);
    }));

  test('to nonsense: what was known stays in force', () =>
    withStarted(async ({ backend, device }) => {
      for (const config of [fakeConfig(2n ** 63n), fakeConfig(8n, 1, 3), Buffer.alloc(7)]) {
        backend.config = config;
        const reads = readsOfConfig(backend);
        backend.device.sendConfigChange();
        await eventually('it is read', () => readsOfConfig(backend) > reads);
      }
      backend.config = fakeConfig(4n);
      const changed = nextEvent(device, 'config-change');
      backend.device.sendConfigChange();
      await changed;
      assert.equal(device.capacityBytes, 4 * 512);
    }));

  test('garbage on the back-end channel does no harm', () =>
    withStarted(async ({ backend, device }) => {
      backend.device.sayOnBackendChannel(rawFrame(99, packed(1, 2, 3)));
      backend.device.sayOnBackendChannel(Buffer.alloc(64, 0xee));
      const told = nextEvent(device, 'disconnect');
      backend.hangUp();
      const [reason] = await told;
      assert.equal(reason.code, 'ECONNRESET', 'the session had gone on');
    }));

  test('a listener that closes the device', () =>
    withStarted(async ({ backend, device }) => {
      const changed = nextEvent(device, 'config-change').then(() => device.close());
      backend.device.sendConfigChange();
      await changed;
    }));
});

function readsOfConfig({ messages }: FakeBackend): number {
  return messages.filter((name) => name === 'GET_CONFIG').length;
}
