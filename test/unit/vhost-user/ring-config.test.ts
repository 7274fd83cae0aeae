/** What a session knows of a ring, and when it refuses to let it run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventFd, createMemfd, createSocketPair, type Fd } from '../../../src/sys/index.ts';
import { MemoryTable } from '../../../src/vhost-user/memory-table.ts';
import { type RingAddresses, RingConfig } from '../../../src/vhost-user/ring-config.ts';
import { createNestedEpoll, createPipe } from '../../support/odd-descriptors.ts';

const USER = 0x7000_0000_0000;
const BYTES = 0x10000;
const MAX_SIZE = 1024;
const FEATURES = 1n << 32n;

/** Memory at `USER`, which starts at an offset of its file. */
function withMemory(mmapOffset: number, use: (memory: MemoryTable) => void): void {
  using file = createMemfd('ring-config-test', BYTES + mmapOffset);
  const memory = new MemoryTable();
  const description = { guestAddress: 0, sizeBytes: BYTES, userAddress: USER, mmapOffset };
  memory.commit(memory.replace([description], [file]));
  try {
    use(memory);
  } finally {
    memory.commit([]);
  }
}

function addresses(available: number, used: number): RingAddresses {
  return { descriptor: USER, available: USER + available, used: USER + used, usedLog: undefined };
}

function ring(): RingConfig {
  const config = new RingConfig(3);
  config.size = 16;
  config.addresses = addresses(0x1000, 0x2000);
  return config;
}

function refused(config: RingConfig, memory: MemoryTable, message: RegExp): void {
  assert.throws(() => config.setup({ features: FEATURES, memory, maxQueueSize: MAX_SIZE }), {
    code: 'BAD_RING',
    message,
  });
}

test('a ring that is complete gives the device all it needs', () =>
  withMemory(0, (memory) => {
    const config = ring();
    config.base = 7;
    const [kick, call] = [createEventFd(), createEventFd()];
    config.exchange('kick', kick);
    config.exchange('call', call);
    assert.deepEqual(config.setup({ features: FEATURES, memory, maxQueueSize: MAX_SIZE }), {
      index: 3,
      size: 16,
      descriptorAddress: USER,
      availableAddress: USER + 0x1000,
      usedAddress: USER + 0x2000,
      base: 7,
      features: FEATURES,
      kickFd: kick.number,
      callFd: call.number,
      errFd: undefined,
      inflight: undefined,
      usedLogAddress: undefined,
      logFd: undefined,
    });
    config.close();
  }));

test('a ring without a size or addresses does not run', () =>
  withMemory(0, (memory) => {
    const bare = new RingConfig(0);
    refused(bare, memory, /^ring 0 has no size \(SET_VRING_NUM\)$/);
    bare.size = 16;
    refused(bare, memory, /^ring 0 has no addresses \(SET_VRING_ADDR\)$/);
  }));

for (const size of [0, -1, 3, 6, 1023, 2048, 32769, 65536, 2 ** 31, 2 ** 32 - 1]) {
  test(`a ring of size ${size} does not run`, () =>
    withMemory(0, (memory) => {
      const config = ring();
      config.size = size;
      refused(config, memory, /^ring 3 of size /);
    }));
}

test('rings of 1 and of the largest size run where they fit', () => {
  withMemory(0, (memory) => {
    const config = ring();
    config.size = 1;
    assert.equal(config.setup({ features: FEATURES, memory, maxQueueSize: MAX_SIZE }).size, 1);
    config.size = MAX_SIZE;
    config.addresses = addresses(0x4000, 0x5000);
    assert.equal(
      config.setup({ features: FEATURES, memory, maxQueueSize: MAX_SIZE }).size,
      MAX_SIZE,
    );
  });
});

const PARTS = [
  ['descriptor', 'descriptor table', 16, 16 * 16],
  ['available', 'available ring', 2, 6 + 2 * 16],
  ['used', 'used ring', 4, 6 + 8 * 16],
] as const;

for (const [part, name, alignment, bytes] of PARTS) {
  const withPart = (address: number): RingConfig => {
    const config = ring();
    assert.ok(config.addresses);
    config.addresses = { ...config.addresses, [part]: address };
    return config;
  };
  test(`${name}: all of it must be in memory`, () =>
    withMemory(0, (memory) => {
      const fits = USER + BYTES - bytes - ((USER + BYTES - bytes) % alignment);
      withPart(fits).setup({ features: FEATURES, memory, maxQueueSize: MAX_SIZE });
      const absent = new RegExp(`^ring 3 has its ${name} at .* not in the memory table$`);
      for (const address of [fits + alignment, USER - alignment, 0, 2 ** 52]) {
        refused(withPart(address), memory, absent);
      }
    }));
  test(`${name}: it must be aligned to ${alignment} bytes, for both sides`, () => {
    const crooked = new RegExp(`^ring 3 has its ${name} at .* misaligned$`);
    withMemory(0, (memory) => {
      withPart(USER + 0x3000 + alignment).setup({
        features: FEATURES,
        memory,
        maxQueueSize: MAX_SIZE,
      });
      for (const off of [1, alignment / 2, alignment - 1]) {
        refused(withPart(USER + 0x3000 + off), memory, crooked);
      }
    });
  });
}

test('a ring is misaligned if its region is, in its file', () => {
  withMemory(16, (memory) => ring().setup({ features: FEATURES, memory, maxQueueSize: MAX_SIZE }));
  withMemory(8, (memory) => refused(ring(), memory, /descriptor table at .* misaligned$/));
  withMemory(1, (memory) => refused(ring(), memory, /misaligned$/));
});

const PACKED = FEATURES | (1n << 34n);
const FIRST_BASE = 0x8000_8000;

test('a packed ring has any size, small parts, and begins in the first lap', () =>
  withMemory(0, (memory) => {
    const config = ring();
    config.size = 7;
    // Four bytes each: there is room for no more.
    config.addresses = {
      descriptor: USER,
      available: USER + BYTES - 4,
      used: USER + BYTES - 8,
      usedLog: undefined,
    };
    const setup = config.setup({ features: PACKED, memory, maxQueueSize: MAX_SIZE });
    assert.deepEqual([setup.size, setup.base, setup.features], [7, FIRST_BASE, PACKED]);
    for (const size of [0, 1.5, MAX_SIZE + 1, 65536]) {
      config.size = size;
      const message = /^ring 3 of size /;
      assert.throws(() => config.setup({ features: PACKED, memory, maxQueueSize: MAX_SIZE }), {
        code: 'BAD_RING',
        message,
      });
    }
  }));

test('the parts of a packed ring must be in memory, and aligned', () =>
  withMemory(0, (memory) => {
    const places = [
      ['descriptor', USER + BYTES - 16 * 15, /descriptor ring at .* not in the memory table$/],
      ['descriptor', USER + 8, /descriptor ring at .* misaligned$/],
      ['available', USER + BYTES, /driver event suppression at .* not in the memory table$/],
      ['available', USER + 2, /driver event suppression at .* misaligned$/],
      ['used', USER - 4, /device event suppression at .* not in the memory table$/],
      ['used', USER + 1, /device event suppression at .* misaligned$/],
    ] as const;
    for (const [part, address, message] of places) {
      const config = ring();
      assert.ok(config.addresses);
      config.addresses = { ...config.addresses, [part]: address };
      assert.throws(() => config.setup({ features: PACKED, memory, maxQueueSize: MAX_SIZE }), {
        code: 'BAD_RING',
        message,
      });
    }
  }));

test('a packed ring goes on where both of its positions are possible', () =>
  withMemory(0, (memory) => {
    const config = ring();
    for (const base of [FIRST_BASE, 0x8000, 0, 0x000f_000f, 0x8003_800a]) {
      config.base = base;
      assert.equal(config.setup({ features: PACKED, memory, maxQueueSize: MAX_SIZE }).base, base);
    }
    for (const base of [0x8000_8010, 0x8010_8000, 0x8001_8000, 2 ** 32 - 1]) {
      config.base = base;
      const message = /^ring 3 starts at index /;
      assert.throws(() => config.setup({ features: PACKED, memory, maxQueueSize: MAX_SIZE }), {
        code: 'BAD_RING',
        message,
      });
    }
  }));

test('a start beyond the last index is refused', () =>
  withMemory(0, (memory) => {
    const config = ring();
    config.base = 0x10000;
    refused(config, memory, /^ring 3 starts at index 65536$/);
  }));

test('descriptors are exchanged: the old one is given back, and each is closed once', () => {
  const config = ring();
  const events = Array.from({ length: 4 }, () => createEventFd());
  assert.equal(config.exchange('kick', events[0]), undefined);
  assert.equal(config.exchange('kick', events[1]), events[0]);
  assert.equal(config.exchange('call', events[2]), undefined);
  assert.equal(config.exchange('err', events[3]), undefined);
  assert.equal(config.exchange('err', undefined), events[3]);
  assert.equal(config.exchange('kick', undefined), events[1]);
  assert.equal(config.exchange('kick', undefined), undefined, 'polled before');
  events[0].close();
  events[1].close();
  events[3].close();
  config.close();
  assert.equal(events[2].isOpen, false);
  config.close();
});

test('only event counters are taken for events', () => {
  const odd: Fd[] = [
    createPipe(),
    createNestedEpoll(),
    createMemfd('odd', 4096),
    ...createSocketPair(),
  ];
  for (const fd of odd) {
    for (const kind of ['kick', 'call', 'err'] as const) {
      assert.throws(() => ring().exchange(kind, fd), { code: 'BAD_DESCRIPTORS' }, fd.what);
    }
    fd.close();
  }
});
