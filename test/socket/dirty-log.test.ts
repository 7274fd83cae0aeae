/**
 * Live migration as a front-end sees it: a copy of memory that is kept up to date by the dirty log
 * alone is, in the end, what memory is.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DriverConnection, GuestRam } from '../../src/testing/index.ts';
import { ChainDriver } from '../support/chain-driver.ts';
import { eventually } from '../support/eventually.ts';
import { type DevicePart, LoggingFrontend, MemoryCopy } from '../support/logging-frontend.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { Lane } from '../support/scattered-load.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const PAGE = 4096;
const QUEUES = 2;
const LANES_PER_QUEUE = 8;
const DISK_BYTES = 4 * 1024 * 1024;
/** Requests in memory below 4 GiB, answers in memory above. */
const RAM = [
  { guestAddress: 0x4000_0000, sizeBytes: 4 * 1024 * 1024 },
  { guestAddress: 0x1_0000_0000, sizeBytes: 4 * 1024 * 1024 },
];

/** A served disk, its driver, and what only the device writes. */
class Rig implements Disposable {
  readonly connection: DriverConnection;
  readonly frontend: LoggingFrontend;
  readonly drivers: readonly ChainDriver[];
  readonly lanes: readonly Lane[];
  readonly deviceParts: readonly DevicePart[];

  static async start(disk: ServedDisk): Promise<Rig> {
    const ram = new GuestRam(RAM);
    const options = { ram, numQueues: QUEUES, queueSize: 64 };
    return new Rig(await disk.connectRings(options), disk);
  }

  private constructor(connection: DriverConnection, disk: ServedDisk) {
    this.connection = connection;
    this.frontend = new LoggingFrontend(connection);
    const { queues, ram } = connection;
    this.drivers = queues.map((queue) => new ChainDriver(connection, queue, disk.reactor));
    this.lanes = this.drivers.flatMap((driver, queue) =>
      Array.from({ length: LANES_PER_QUEUE }, (_, index) => {
        const seed = queue * LANES_PER_QUEUE + index;
        return new Lane(connection, driver, DISK_BYTES / 512, seed);
      }),
    );
    this.deviceParts = [...queues.map(({ used }) => used), ram.at(1, 0, RAM[1]?.sizeBytes ?? 0)];
  }

  copies(): MemoryCopy[] {
    return this.deviceParts.map((part) => new MemoryCopy(part));
  }

  [Symbol.dispose](): void {
    for (const driver of this.drivers) driver[Symbol.dispose]();
    this.frontend[Symbol.dispose]();
  }
}

/** Pages that a lane's last request, and any request's completion, may have written. */
function writablePages(rig: Rig): Set<number> {
  const pieces = rig.lanes.flatMap((lane) => lane.writable);
  const used = rig.deviceParts.slice(0, QUEUES).map(({ guestAddress, bytes }) => ({
    guestAddress,
    length: bytes.length,
  }));
  const pages = new Set<number>();
  for (const { guestAddress, length } of [...pieces, ...used]) {
    const last = Math.floor((guestAddress + length - 1) / PAGE);
    for (let page = Math.floor(guestAddress / PAGE); page <= last; page++) pages.add(page);
  }
  return pages;
}

/** Keep all lanes busy until told to end. */
function startLoad(rig: Rig): { end(): Promise<void> } {
  let isEnding = false;
  const busy = rig.lanes.map(async (lane) => {
    while (!isEnding) await lane.run();
  });
  return {
    end: async () => {
      isEnding = true;
      await Promise.all(busy);
    },
  };
}

/** Copy memory under load, until the device is stopped: then nothing may be missing. */
async function migrateOnce(rig: Rig): Promise<number> {
  const { connection, frontend } = rig;
  await frontend.start();
  const copies = rig.copies();
  let updates = 0;
  const update = (): void => {
    const pages = frontend.fetch();
    updates += pages.length;
    for (const copy of copies) copy.update(pages);
  };
  for (let pass = 0; pass < 10; pass++) {
    await sleep(2);
    update();
  }
  const bases: number[] = [];
  for (const { index } of connection.queues) bases.push(await connection.stopQueue(index));
  update();
  assert.deepEqual(
    copies.flatMap((copy) => copy.stalePages()),
    [],
  );
  // The lanes ask on. Nobody serves them: neither memory nor the log changes.
  for (let asked = 0; asked < 5; asked++) await connection.session.request('GET_FEATURES', null);
  await sleep(5);
  assert.deepEqual(frontend.fetch(), []);
  assert.deepEqual(
    copies.flatMap((copy) => copy.stalePages()),
    [],
  );
  for (const { index } of connection.queues) await connection.startQueue(index, bases[index]);
  return updates;
}

for (const { engine, skip } of SERVER_ENGINES) {
  for (const threads of [1, 2]) {
    void suite(`the dirty log, ${engine}, threads: ${threads}`, { skip }, () => {
      const serve = (): Promise<ServedDisk> =>
        ServedDisk.start({
          engine,
          content: patternBytes(DISK_BYTES, 7),
          args: [`--num-queues=${QUEUES}`, `--threads=${threads}`],
        });

      test('what changes is marked, and only what may have changed', async () => {
        await using disk = await serve();
        const rig = await Rig.start(disk);
        using _rig = rig;
        await rig.frontend.start();
        const outside: number[] = [];
        for (let round = 0; round < 20; round++) {
          const copies = rig.copies();
          await Promise.all(rig.lanes.map((lane) => lane.run()));
          const allowed = writablePages(rig);
          // With the last answer before it sleeps, the device has not written the last byte yet.
          await eventually('the copies are complete', () => {
            const pages = rig.frontend.fetch();
            outside.push(...pages.filter((page) => !allowed.has(page)));
            for (const copy of copies) copy.update(pages);
            return copies.every((copy) => copy.stalePages().length === 0);
          });
        }
        assert.deepEqual(outside, []);
        await rig.frontend.stop();
        rig.frontend.fetch();
        await Promise.all(rig.lanes.map((lane) => lane.run()));
        assert.deepEqual(rig.frontend.fetch(), [], 'nothing is logged any more');
        assert.doesNotMatch(disk.server.stderr, /logMisses/);
      });

      test('a copy made under load is complete when the rings have stopped', async (t) => {
        await using disk = await serve();
        const rig = await Rig.start(disk);
        using _rig = rig;
        const load = startLoad(rig);
        let updates = 0;
        for (let round = 0; round < 8; round++) {
          updates += await migrateOnce(rig);
          if (round % 2 === 0) continue;
          // Off and on again while requests are under way.
          await rig.frontend.start();
          await rig.frontend.stop();
          rig.frontend.fetch();
          await sleep(5);
          assert.deepEqual(rig.frontend.fetch(), []);
        }
        await load.end();
        t.diagnostic(`${updates} pages copied again`);
        assert.ok(updates > 100);
      });
    });
  }
}
