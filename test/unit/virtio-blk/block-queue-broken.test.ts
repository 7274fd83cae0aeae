/** Rings that make no sense: the queue says so once, answers what it can, and stops. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PENDING } from '../../../src/sys/index.ts';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { RingFeature, type RingFormat } from '../../../src/virtqueue/index.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';
import { ServedQueue } from '../../support/served-queue.ts';

const flush = { type: RequestType.FLUSH };

/** What a driver may do that no device can make sense of, and what that is called. */
type Nonsense = readonly [reason: string, make: (served: ServedQueue) => void];

const NONSENSE: readonly Nonsense[] = [
  [
    'request without a byte for its status',
    (served) => {
      const { guestAddress: address } = served.ram.at(0, 0, 16);
      served.addPieces([{ address, length: 16, isWritable: false }]);
    },
  ],
  [
    'readable descriptor after a writable one',
    (served) => {
      const { guestAddress: address } = served.ram.at(0, 0, 16);
      served.addPieces([
        { address, length: 1, isWritable: true },
        { address, length: 16, isWritable: false },
      ]);
    },
  ],
];

/** Add a request, and change 16 bits of a descriptor of it: its own number, or the one behind it. */
function spoil(
  served: ServedQueue,
  format: RingFormat,
  descriptor: number,
  offset: number,
  change: (before: number, head: number) => number,
): void {
  const next = served.driver.size - served.driver.freeCount;
  const head = served.add(flush);
  const view = new DataView(served.ringMemory.descriptors);
  const at = ((format === 'split' ? head : next) + descriptor) * 16 + offset;
  view.setUint16(at, change(view.getUint16(at, true), head), true);
}

const SPLIT_NONSENSE: readonly Nonsense[] = [
  [
    'descriptor index outside the table',
    (served) => spoil(served, 'split', 0, 14, () => served.ring.size),
  ],
  [
    'descriptor chain is too long or loops',
    (served) => spoil(served, 'split', 0, 14, (_, head) => head),
  ],
  ['malformed indirect descriptor', (served) => spoil(served, 'split', 0, 12, () => 4)],
];

const PACKED_NONSENSE: readonly Nonsense[] = [
  [
    'descriptor index outside the table',
    (served) => spoil(served, 'packed', 1, 12, () => served.ring.size),
  ],
  [
    'malformed indirect descriptor',
    (served) => spoil(served, 'packed', 0, 14, (flags) => flags | 4),
  ],
  [
    'malformed indirect descriptor',
    (served) => spoil(served, 'packed', 1, 14, (flags) => flags | 4),
  ],
];

const PACKED_FEATURES = ALL_FEATURES | (1n << BigInt(RingFeature.RING_PACKED));
const RINGS = [
  ['split', ALL_FEATURES, [...NONSENSE, ...SPLIT_NONSENSE]],
  ['packed', PACKED_FEATURES, [...NONSENSE, ...PACKED_NONSENSE]],
] as const;

for (const [format, features, nonsense] of RINGS) {
  for (const [reason, make] of nonsense) {
    test(`${format} ring broken by: ${reason}`, () => {
      using served = new ServedQueue({ features });
      served.add(flush);
      make(served);
      served.add(flush);
      served.send();
      assert.deepEqual(served.broken, [reason]);
      assert.equal(served.takeErrors(), 1);
      const before = served.answers().map(({ status, usedLength }) => [status, usedLength]);
      assert.deepEqual(before, [[Status.OK, 1]], 'what came before is answered');
      served.queue.resume();
      served.send(flush);
      assert.equal(served.queue.poll(), false);
      assert.equal(served.queue.prepareToSleep(), true);
      assert.equal(served.answers().length, 0, 'nothing more is served');
      assert.equal(served.takeErrors(), 0, 'said once');
      assert.equal(served.counted().brokenRings, 1);
      assert.equal(served.queue.inFlight, 0);
    });
  }

  test(`a broken ${format} ring drains, also from within the report that it is broken`, () => {
    for (const [, make] of nonsense) {
      let drained = 0;
      using served: ServedQueue = new ServedQueue({
        features,
        onBroken: () =>
          served.queue.drain(() => {
            drained += 1;
          }),
      });
      for (let count = 0; count < 8; count++) served.add(flush);
      make(served);
      served.send();
      served.queue.poll();
      assert.equal(served.answers().length, 8);
      assert.equal(drained, 1);
      served.queue.close();
    }
  });
}

test('ring broken by an available index that is impossible', () => {
  using served = new ServedQueue({ size: 4 });
  new Uint16Array(served.ringMemory.available)[1] = 5;
  served.queue.poll();
  assert.deepEqual(served.broken, ['available index is impossible']);
  assert.equal(served.takeErrors(), 1);
  served.queue.poll();
  assert.equal(served.broken.length, 1);
});

test('requests under way when the ring breaks are answered', () => {
  const channel = new ScriptedChannel();
  channel.results = [PENDING];
  using served = new ServedQueue({ openChannel: channel.open });
  served.add(flush);
  NONSENSE[0][1](served);
  served.send();
  assert.equal(served.broken.length, 1);
  channel.finish(0);
  served.queue.poll();
  assert.equal(served.answers().length, 1);
});

test('a broken ring drains though its driver stops asking for calls meanwhile', () => {
  let isDrained = false;
  using served: ServedQueue = new ServedQueue({
    size: 512,
    onBroken: () => {
      assert.ok(served.ring.unpublished > 0, 'answers wait to be published');
      served.driver.suppressCalls();
      served.queue.drain(() => {
        isDrained = true;
        assert.equal(served.driver.usedCount(), 60, 'the driver can see all answers');
      });
    },
  });
  // Enough that the first answers are not published at once.
  for (let count = 0; count < 60; count++) served.add(flush);
  NONSENSE[0][1](served);
  for (let count = 0; count < 140; count++) served.add(flush);
  served.send();
  served.queue.poll();
  assert.equal(served.answers().length, 60);
  assert.ok(isDrained);
});

test('nobody listening to errors is no reason to fail', () => {
  using served = new ServedQueue();
  served.queue.errFd = -1;
  NONSENSE[0][1](served);
  served.send();
  assert.equal(served.broken.length, 1);
});
