/**
 * A server that is killed at any moment, again and again, under load: the next one finds written
 * down what was under way. Every request completes once, and the disk holds what was acknowledged.
 */
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadBytes } from '../support/blocking-load.ts';
import { vhostUserDevice } from '../support/client-device.ts';
import { ClientLoad } from '../support/client-load.ts';
import { eventually } from '../support/eventually.ts';
import { assertLoadsKept, replaceServer } from '../support/loads-over-kills.ts';
import { QueueThread } from '../support/queue-threads.ts';
import { RestartingServer } from '../support/restarting-server.ts';
import { SERVER_ENGINES } from '../support/served-disk.ts';

const LANES = 48;
const PART_BYTES = loadBytes(LANES);
/** Kills of all engines together, by the format of rings. */
const KILLS = { split: 200, packed: 100 };
/** A life ends so long after the first request, at most. */
const MAX_LIFE_MS = 30;

for (const [format, allKills] of Object.entries(KILLS)) {
  suite(`a server of ${format} rings that is killed at random moments`, () => {
    const engines = SERVER_ENGINES.filter(({ skip }) => skip === false);
    for (const { engine, skip } of SERVER_ENGINES) {
      const kills = Math.ceil(allKills / engines.length);
      test(`${kills} times in a row: nothing is lost or done twice (${engine})`, {
        skip,
      }, async (t) => {
        const seed = Math.floor(Math.random() * 2 ** 31);
        t.diagnostic(`seed ${seed}`);
        await killOften({ engine, kills, isPacked: format === 'packed', seed });
      });
    }
  });
}

interface Plan {
  readonly engine: string;
  readonly kills: number;
  readonly isPacked: boolean;
  readonly seed: number;
}

async function killOften({ engine, kills, isPacked, seed }: Plan): Promise<void> {
  const args = [`--engine=${engine}`, '--num-queues=3', '--threads=2'];
  await using server = await RestartingServer.start(3 * PART_BYTES, args);
  using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 1, packed: isPacked });
  await device.connect();
  device.set('queue-size', 64);
  device.set('num-queues', 3);
  await device.start();
  const own = new ClientLoad([device.asyncQueue(0)], PART_BYTES, LANES);
  const threads = [1, 2].map(
    (index) =>
      new QueueThread(device.shareQueue(index), {
        lanes: LANES,
        startBytes: index * PART_BYTES,
      }),
  );
  const all = [own, ...threads];
  let random = seed;
  for (let kill = 0; kill < kills; kill++) {
    const before = all.map(({ done }) => done);
    await eventually('requests are done', () => all.some(({ done }, at) => done > before[at]));
    random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
    await sleep((random / 2 ** 32) * MAX_LIFE_MS);
    await replaceServer(server, device);
  }
  await assertLoadsKept(own, threads, () => server.readImage());
}
