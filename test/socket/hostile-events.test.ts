/** Event descriptors used against their meaning, against the real program. */
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { createEventFd, drainEvent, type Fd, isSignalled } from '../../src/sys/index.ts';
import { DriverConnection } from '../../src/testing/index.ts';
import { type Attack, attackSuite } from '../support/attacked-server.ts';
import { eventually } from '../support/eventually.ts';
import { HandMadeRing, NEXT, WRITE } from '../support/hand-made-ring.ts';

/** An event counter takes no more than this: one more waits, or is refused. */
const FULL = new BigUint64Array([2n ** 64n - 2n]);
const STATUS_AT = 4096;
/** No EVENT_IDX: every batch is called for. */
const PLAIN_FEATURES = ~(1n << 29n);

/** Fill a counter that is at zero: this would wait, too, otherwise. */
function fill(event: Fd): void {
  writeSync(event.number, new Uint8Array(FULL.buffer));
}

/** Take a counter's value, if it is not at zero: this would wait, too, otherwise. */
function take(event: Fd): boolean {
  return isSignalled(event.number) && drainEvent(event.number) > 0;
}

async function connected(
  { reactor, socketPath }: Attack,
  numQueues: number,
  use: (connection: DriverConnection, rings: readonly HandMadeRing[]) => Promise<void>,
): Promise<void> {
  const options = { reactor, socketPath, numQueues, features: PLAIN_FEATURES };
  const connection = await DriverConnection.open(options);
  try {
    const rings = connection.queues.map((_, index) => new HandMadeRing(connection, index));
    // A ring that starts calls.
    for (const { call } of connection.queues) await eventually('a call', () => take(call));
    await use(connection, rings);
  } finally {
    connection.close();
  }
}

/** Offer a request that is answered at once: GET_ID. */
function ask(ring: HandMadeRing): void {
  const at = ring.request(8, 0, 8192).guestAddress;
  ring.describe([
    { address: at, length: 16, flags: NEXT, next: 1 },
    { address: at + 512, length: 20, flags: NEXT | WRITE, next: 2 },
    { address: at + STATUS_AT, length: 1, flags: WRITE },
  ]);
  ring.offer(0);
}

/** Have the worker wait in a write to this ring's call counter. */
async function blockWorker(ring: HandMadeRing): Promise<void> {
  fill(ring.queue.call);
  ask(ring);
  // The index is published before the call.
  await ring.used(1);
}

attackSuite('hostile events: full counters', [], (attack) => {
  attack('a full call counter that does not block loses nothing', (details) =>
    connected(details, 1, async (connection, [ring]) => {
      using call = createEventFd();
      fill(call);
      await connection.session.request('SET_VRING_CALL', { value: 0n }, [call]);
      for (let count = 1; count <= 3; count++) {
        ask(ring);
        await ring.used(count);
      }
    }),
  );
  attack('a full call counter that blocks does not keep the client from going', (details) =>
    connected(details, 1, async (_connection, [ring]) => blockWorker(ring)),
  );
  attack('a full call counter that blocks does not keep its ring from being stopped', (details) =>
    connected(details, 1, async (connection, [ring]) => {
      await blockWorker(ring);
      assert.equal(await connection.stopQueue(0), 1);
    }),
  );
  attack('a full call counter of one ring does not keep another from being stopped', (details) =>
    connected(details, 2, async (connection, [first, second]) => {
      await blockWorker(second);
      assert.equal(await connection.stopQueue(0), 0);
      ask(first);
    }),
  );
  attack('the call descriptor is exchanged while a write to the old one waits', (details) =>
    connected(details, 1, async (connection, [ring]) => {
      await blockWorker(ring);
      using call = createEventFd();
      await connection.session.request('SET_VRING_CALL', { value: 0n }, [call]);
      ask(ring);
      await ring.used(2);
    }),
  );
  attack('a ring is started while a write to the call counter of another waits', (details) =>
    connected(details, 2, async (connection, [first, second]) => {
      await connection.session.request('SET_VRING_ENABLE', { index: 1, num: 0 });
      await blockWorker(first);
      await connection.session.request('SET_VRING_ENABLE', { index: 1, num: 1 });
      ask(second);
      await second.used(1);
    }),
  );
  attack(
    'a full error counter does not matter',
    (details) =>
      connected(details, 1, async (connection, [ring]) => {
        using err = createEventFd({ blocking: true });
        fill(err);
        await connection.session.request('SET_VRING_ERR', { value: 0n }, [err]);
        const said = details.server.stderr.length;
        ring.publishIndex(1000);
        // The counter cannot tell: it is full already.
        await eventually('the server notices', () =>
          details.server.stderr.slice(said).includes('available index is impossible'),
        );
        assert.equal(await connection.stopQueue(0), 0);
      }),
    [/ring 0 is not served any more: available index is impossible$/],
  );
});

attackSuite('hostile events: kicks and calls', [], (attack) => {
  attack('all event descriptors may be one and the same', (details) =>
    connected(details, 1, async (connection, [ring]) => {
      const one = [ring.queue.kick];
      await connection.session.request('SET_VRING_CALL', { value: 0n }, one);
      await connection.session.request('SET_VRING_ERR', { value: 0n }, one);
      ask(ring);
      await ring.used(1);
    }),
  );
  attack('call and kick descriptors that the client has closed do not matter', (details) =>
    connected(details, 1, async (_connection, [ring]) => {
      ask(ring);
      const { kick, call, err } = ring.queue;
      for (const fd of [kick, call, err]) fd.close();
      await ring.used(1);
    }),
  );
  attack('kicks without end do not keep another client from being served', async (details) => {
    await connected(details, 1, async (_connection, [ring]) => {
      for (let count = 0; count < 20_000; count++) ring.publishIndex(0);
    });
  });
  for (const index of [129, 1000, 0x8000, 0xffff]) {
    attack(
      `an available index that jumps to ${index} breaks the ring`,
      (details) =>
        connected(details, 1, async (connection, [ring]) => {
          ring.publishIndex(index);
          await ring.broken();
          assert.equal(ring.usedIndex, 0);
          assert.equal(await connection.stopQueue(0), 0);
        }),
      [/ring 0 is not served any more: available index is impossible$/],
    );
  }
  attack(
    'a broken ring does not keep others from being served, and can be started again',
    (details) =>
      connected(details, 2, async (connection, [broken, whole]) => {
        broken.publishIndex(500);
        await broken.broken();
        ask(whole);
        await whole.used(1);
        assert.equal(await connection.stopQueue(0), 0);
        broken.publishIndex(0);
        const { kick } = broken.queue;
        await connection.session.request('SET_VRING_KICK', { value: 0n }, [kick]);
        ask(broken);
        await broken.used(1);
      }),
    [/ring 0 is not served any more: available index is impossible$/],
  );
  for (const heads of [[128], [0x7fff, 0xffff]]) {
    attack(
      `a head of ${heads[0]} in a ring of 128 breaks the ring`,
      (details) =>
        connected(details, 1, async (_connection, [ring]) => {
          ring.offer(...heads);
          await ring.broken();
        }),
      [/ring 0 is not served any more: descriptor index outside the table$/],
    );
  }
  attack('a chain that is offered many times at once is answered as often', (details) =>
    connected(details, 1, async (_connection, [ring]) => {
      ask(ring);
      ring.offer(...Array.from({ length: 100 }, () => 0));
      await ring.used(101);
    }),
  );
});
