/** Rings and memory that change under a running device, against the real program. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { createEventFd } from '../../src/sys/index.ts';
import { BlockDriver, DriverConnection, GuestRam } from '../../src/testing/index.ts';
import { type Attack, attackSuite } from '../support/attacked-server.ts';
import { HandMadeRing, NEXT, WRITE } from '../support/hand-made-ring.ts';

const REGION = { guestAddress: 0x1_0000_0000, sizeBytes: 64 * 2 ** 20 };

async function withDriver(
  { reactor, socketPath }: Attack,
  use: (driver: BlockDriver) => Promise<void>,
): Promise<void> {
  const driver = await BlockDriver.open({ reactor, socketPath });
  try {
    await use(driver);
  } finally {
    driver.close();
  }
}

function tableOf(ram: GuestRam) {
  return ram.regions.map(({ guestAddress, sizeBytes, userAddress }) => ({
    guestAddress,
    sizeBytes,
    userAddress,
    mmapOffset: 0,
  }));
}

/** Reads that keep the device busy; how each ends is of no interest. */
function keepReading(driver: BlockDriver, count: number): Promise<unknown> {
  return Promise.allSettled(Array.from({ length: count }, (_, n) => driver.read(n * 8, 256)));
}

attackSuite('hostile changes under a running ring', [], (attack) => {
  attack('the memory table is replaced by itself under I/O, again and again', (details) =>
    withDriver(details, async (driver) => {
      const { session, ram } = driver.connection;
      const before = details.server.mappedRanges();
      const fds = ram.regions.map(({ fd }) => fd);
      for (let round = 0; round < 300; round++) {
        const reads = keepReading(driver, 30);
        await session.request('SET_MEM_TABLE', tableOf(ram), fds);
        await reads;
      }
      const now = details.server.mappedRanges();
      assert.ok(now < before + 250, `mappings pile up: ${before}, then ${now}`);
    }),
  );
  attack(
    'memory is taken away under I/O: the ring stops, no request is done elsewhere',
    (details) =>
      withDriver(details, async (driver) => {
        const reads = keepReading(driver, 30);
        using other = new GuestRam([{ guestAddress: 0x9000_0000_0000, sizeBytes: 4096 }]);
        const { session } = driver.connection;
        const region = { ...tableOf(other)[0], userAddress: 0x1000 };
        const fds = [other.regions[0].fd];
        await assert.rejects(session.request('SET_MEM_TABLE', [region], fds), { code: 'REFUSED' });
        assert.equal(new Uint8Array(other.regions[0].mapping.view(0, 4096)).some(Boolean), false);
        assert.equal(typeof (await driver.connection.stopQueue(0)), 'number');
        driver.close();
        await reads;
      }),
    [/SET_MEM_TABLE \(.*\): ring 0 has its descriptor table .* not in the memory table: refused$/],
  );
  attack(
    'the only region is removed under I/O, and a stopped ring stays stopped',
    (details) =>
      withDriver(details, async (driver) => {
        const reads = keepReading(driver, 30);
        const { session, ram } = driver.connection;
        const region = { padding: 0, ...tableOf(ram)[0] };
        await assert.rejects(session.request('REM_MEM_REG', region), { code: 'REFUSED' });
        await session.request('SET_VRING_ENABLE', { index: 0, num: 1 });
        driver.close();
        await reads;
      }),
    [/REM_MEM_REG \(.*\): ring 0 has its descriptor table .* not in the memory table: refused$/],
  );
  attack('a ring is stopped with requests under way: all taken are answered', (details) =>
    withDriver(details, async (driver) => {
      let answered = 0;
      const count = (): number => (answered += 1);
      const { session, queues } = driver.connection;
      const all = Array.from({ length: 60 }, (_, n) => driver.read(n * 8, 256).then(count));
      const base = await driver.connection.stopQueue(0);
      const used = new Uint16Array(queues[0].memory.used)[1];
      assert.equal(used, base, 'what was taken has been answered when the answer comes');
      await session.request('SET_VRING_BASE', { index: 0, num: base });
      await session.request('SET_VRING_KICK', { value: 0n }, [queues[0].kick]);
      await Promise.all(all);
      assert.equal(answered, 60);
    }),
  );
  attack('features, status and descriptors change under I/O', (details) =>
    withDriver(details, async (driver) => {
      const { session, features } = driver.connection;
      using err = createEventFd();
      for (let round = 0; round < 20; round++) {
        const reads = keepReading(driver, 30);
        await session.request('SET_FEATURES', { value: features });
        await session.request('SET_VRING_ERR', { value: 0n }, [err]);
        await session.request('SET_STATUS', { value: BigInt(round) });
        await reads;
      }
    }),
  );
  attack('a device is reset with requests under way', (details) =>
    withDriver(details, async (driver) => {
      const reads = keepReading(driver, 60);
      await driver.connection.session.request('RESET_DEVICE', null);
      driver.close();
      await reads;
    }),
  );
});

/** mulberry32: from one seed the same numbers everywhere. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const SCRIBBLE_ROUNDS = 120;
const SCRIBBLES_PER_ROUND = 400;

/** Let the device serve a ring while words of it, and of its requests, turn into others. */
async function scribble(connection: DriverConnection, random: (below: number) => number) {
  const ring = new HandMadeRing(connection);
  const at = ring.request(0, random(8192)).guestAddress;
  const descriptors = Array.from({ length: 128 }, (_, index) => ({
    address: at + (index % 3 === 0 ? 0 : 4096),
    length: [16, 512, 1][index % 3],
    flags: [NEXT, NEXT | WRITE, WRITE][index % 3],
    next: index + 1,
  }));
  ring.describe(descriptors);
  const { queue } = ring;
  const targets = [
    queue.descriptors.bytes,
    queue.available.bytes,
    queue.used.bytes,
    connection.ram.at(0, at - REGION.guestAddress, 16).bytes,
  ];
  for (let count = 0; count < SCRIBBLES_PER_ROUND; count++) {
    ring.offer(random(42) * 3);
    const bytes = targets[random(targets.length)];
    const place = random(bytes.length);
    // Small numbers are the more dangerous ones: indices, flags, lengths that are nearly right.
    bytes[place] = random(2) === 0 ? random(8) : random(256);
    if (count % 16 === 0) await turn();
  }
}

// Read-only: whatever a scribbled request turns into, the disk must not change.
attackSuite('hostile scribbling', ['--read-only'], (attack, engine) => {
  attack(
    'rings and requests are scribbled over while the device reads them',
    async ({ reactor, socketPath, server }) => {
      const seed = Number(process.env.VHOSTKIT_SEED ?? Date.now() % 2 ** 31);
      const random = randomNumbers(seed);
      for (let round = 0; round < SCRIBBLE_ROUNDS; round++) {
        const ram = new GuestRam([REGION]);
        const options = { reactor, socketPath, ram, queueSize: 128 };
        const connection = await DriverConnection.open(options);
        await scribble(connection, random);
        await connection.stopQueue(0);
        connection.close();
        assert.equal(server.end, undefined, `${engine}: VHOSTKIT_SEED=${seed}, round ${round}`);
      }
    },
    [],
    [/ring 0 is not served any more: /],
  );
});
