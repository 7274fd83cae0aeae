/** What the disk is asked for: ranges one after the other, and which writes must be stable. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskFlag, DiskOperation } from '../../../src/storage/index.ts';
import { PENDING } from '../../../src/sys/index.ts';
import { BlockFeature, featureSet, RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { type RangeFields, rangeBytes } from '../../support/block-chains.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';
import { type Sent, ServedQueue } from '../../support/served-queue.ts';

const { OUT, IN, FLUSH, DISCARD, WRITE_ZEROES } = RequestType;
const EIO = -5;

const three: readonly RangeFields[] = [
  { sector: 8, sectors: 8 },
  { sector: 2 ** 20, sectors: 16 },
  { sector: 0, sectors: 1 },
];

test('ranges are worked on one after the other, done at once or pending', () => {
  for (const results of [
    [0, 0, 0],
    [PENDING, 0, PENDING],
    [0, PENDING, 0],
    [PENDING, PENDING],
  ]) {
    const channel = new ScriptedChannel();
    using served = new ServedQueue({ openChannel: channel.open });
    channel.results = [...results];
    served.send({ type: DISCARD, payload: rangeBytes(three) });
    while (channel.pending > 0) {
      assert.equal(channel.pending, 1, 'one at a time');
      assert.equal(served.answers().length, 0, 'no answer before the last');
      channel.finish(0);
      served.queue.poll();
    }
    const [answer] = served.answers();
    assert.deepEqual([answer.status, answer.usedLength], [Status.OK, 1]);
    assert.deepEqual(
      channel.asked,
      three.map(({ sector, sectors }) => ({
        operation: DiskOperation.DISCARD,
        offsetBytes: Number(sector) * 512,
        lengthBytes: sectors * 512,
        flags: 0,
      })),
    );
    assert.equal(served.counted().discards, 1);
  }
});

test('after a range that fails, the others are left alone', () => {
  for (const results of [
    [0, EIO],
    [PENDING, EIO],
    [0, PENDING],
  ]) {
    const channel = new ScriptedChannel();
    using served = new ServedQueue({ openChannel: channel.open });
    channel.results = [...results];
    served.send({ type: WRITE_ZEROES, payload: rangeBytes(three) });
    if (channel.pending > 0) channel.finish(results[0] === PENDING ? 0 : EIO);
    served.queue.poll();
    const [answer] = served.answers();
    assert.deepEqual([answer.status, answer.usedLength], [Status.IOERR, 1]);
    assert.equal(channel.asked.length, 2);
    assert.deepEqual(served.counted(), { diskErrors: 1, calls: 1 });
  }
});

test('one wrong range keeps all of them from the disk', () => {
  const channel = new ScriptedChannel();
  using served = new ServedQueue({ openChannel: channel.open });
  const beyond = { sector: 2n ** 40n, sectors: 8 };
  const answer = served.ask({ type: DISCARD, payload: rangeBytes([...three, beyond]) });
  assert.equal(answer.status, Status.IOERR);
  assert.equal(channel.asked.length, 0);
});

test('ranges of nothing are passed over; only such ones are done', () => {
  const channel = new ScriptedChannel();
  using served = new ServedQueue({ openChannel: channel.open });
  const none = { sector: 4, sectors: 0 };
  assert.equal(served.ask({ type: DISCARD, payload: rangeBytes([none, none]) }).status, Status.OK);
  assert.equal(channel.asked.length, 0);
  served.ask({ type: DISCARD, payload: rangeBytes([none, three[0], none]) });
  assert.equal(channel.asked.length, 1);
});

test('a slot used for ranges is clean for the next request', () => {
  const channel = new ScriptedChannel();
  using served = new ServedQueue({ openChannel: channel.open, slots: 1 });
  served.ask({ type: WRITE_ZEROES, payload: rangeBytes([{ ...three[0], flags: 1 }]) });
  served.ask({ type: IN, room: 512 });
  served.ask({ type: FLUSH });
  assert.deepEqual(
    channel.asked.map(({ operation, flags }) => [operation, flags]),
    [
      [DiskOperation.WRITE_ZEROES, DiskFlag.UNMAP],
      [DiskOperation.READ, 0],
      [DiskOperation.FLUSH, 0],
    ],
  );
});

/** Flags of a write, of zeroing with and without UNMAP, of a read, a flush and a discard. */
function flagsOf(features: bigint, writeback: boolean): number[] {
  const channel = new ScriptedChannel();
  using served = new ServedQueue({ openChannel: channel.open, features });
  served.state.writeback = writeback;
  const payload = rangeBytes([three[0]]);
  const unmap = rangeBytes([{ ...three[0], flags: 1 }]);
  const all: Sent[] = [
    { type: OUT, payload: new Uint8Array(512) },
    { type: WRITE_ZEROES, payload },
    { type: WRITE_ZEROES, payload: unmap },
    { type: IN, room: 512 },
    { type: FLUSH },
    { type: DISCARD, payload },
  ];
  for (const sent of all) assert.equal(served.ask(sent).status, Status.OK);
  return channel.asked.map(({ flags }) => flags);
}

const { STABLE, UNMAP } = DiskFlag;
const CACHED = [0, 0, UNMAP, 0, 0, 0];
const THROUGH = [STABLE, STABLE, STABLE | UNMAP, 0, 0, 0];

test('writes must be stable in write-through mode, and only writes', () => {
  assert.deepEqual(flagsOf(ALL_FEATURES, true), CACHED);
  assert.deepEqual(flagsOf(ALL_FEATURES, false), THROUGH);
});

test('a driver without CONFIG_WCE has a cache, without FLUSH it has none', () => {
  const noField = ALL_FEATURES & ~featureSet(BlockFeature.CONFIG_WCE);
  assert.deepEqual(flagsOf(noField, true), CACHED);
  assert.deepEqual(flagsOf(noField, false), CACHED);
  const noFlush = ALL_FEATURES & ~featureSet(BlockFeature.FLUSH);
  assert.deepEqual(flagsOf(noFlush, true), THROUGH);
});

test('the writeback field takes effect with the next request', () => {
  const channel = new ScriptedChannel();
  using served = new ServedQueue({ openChannel: channel.open });
  for (const writeback of [true, false, true]) {
    served.state.writeback = writeback;
    served.ask({ type: OUT, payload: new Uint8Array(512) });
  }
  assert.deepEqual(
    channel.asked.map(({ flags }) => flags),
    [0, STABLE, 0],
  );
});
