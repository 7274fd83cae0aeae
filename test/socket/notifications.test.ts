/**
 * No wake-up is lost, on either side, however often both go to sleep. The disk does no I/O: the
 * races are between rings, kicks and calls.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { drainEvent } from '../../src/sys/index.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import { eventually } from '../support/eventually.ts';
import { runSleepyLoad } from '../support/notification-load.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const NO_EVENT_IDX = ~(1n << BigInt(RingFeature.EVENT_IDX));
const NO_INDIRECT = ~(1n << BigInt(RingFeature.INDIRECT_DESC));

const PACKED = { features: -1n, packed: true };

interface Case {
  readonly what: string;
  readonly requests: number;
  readonly pollUs: number;
  readonly features: bigint;
  readonly packed?: boolean;
}

const CASES: readonly Case[] = [
  { what: 'EVENT_IDX, a server that polls', requests: 1_000_000, pollUs: 100, features: -1n },
  { what: 'EVENT_IDX, a server that sleeps', requests: 1_000_000, pollUs: 0, features: -1n },
  { what: 'flags, a server that polls', requests: 200_000, pollUs: 100, features: NO_EVENT_IDX },
  { what: 'flags, a server that sleeps', requests: 200_000, pollUs: 0, features: NO_EVENT_IDX },
  { what: 'packed, EVENT_IDX, polling', requests: 500_000, pollUs: 100, ...PACKED },
  { what: 'packed, EVENT_IDX, sleeping', requests: 500_000, pollUs: 0, ...PACKED },
  {
    what: 'packed, flags, sleeping',
    requests: 200_000,
    pollUs: 0,
    ...PACKED,
    features: NO_EVENT_IDX,
  },
];

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`wake-ups, ${engine}`, () => {
    for (const packed of [false, true]) {
      const what = `a ring that starts calls its driver, ${packed ? 'packed' : 'split'}`;
      // The last call of a back-end before may have come to nobody.
      test(what, { skip }, async () => {
        await using disk = await ServedDisk.start({ engine, args: ['--disk=null,size=1G'] });
        for (let client = 0; client < 3; client++) {
          const connection = await disk.connectRings({ packed });
          for (const { call } of connection.queues) {
            await eventually('a call', () => drainEvent(call.number) > 0);
          }
          connection.close();
        }
      });
    }

    for (const { what, requests, pollUs, features, packed = false } of CASES) {
      test(`none of ${requests} requests waits for ever: ${what}`, { skip }, async () => {
        const args = ['--disk=null,size=1G', `--poll-max-us=${pollUs}`];
        await using disk = await ServedDisk.start({ engine, args });
        const wanted = features & NO_INDIRECT;
        const connection = await disk.connectRings({ features: wanted, packed });
        const seed = Number(process.env.VHOSTKIT_SEED ?? Date.now() % 2 ** 31);
        const result = await runSleepyLoad(connection, requests, seed);
        // Otherwise nothing was tried.
        assert.ok(result.sleeps > requests / 100, `${result.sleeps} sleeps, seed ${seed}`);
        // On a quiet machine a server that polls hardly ever sleeps.
        const leastKicks = pollUs > 0 ? 1 : 100;
        assert.ok(result.kicks >= leastKicks, `${result.kicks} kicks, seed ${seed}`);
        connection.close();
        await disk.server.logged(new RegExp(`disconnected: reads ${requests}, `));
      });
    }
  });
}
