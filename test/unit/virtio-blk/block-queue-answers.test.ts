/** How requests are answered: status, used length to the byte, counters. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NullDisk } from '../../../src/storage/index.ts';
import { PENDING } from '../../../src/sys/index.ts';
import { BlockFeature, featureSet, RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { rangeBytes } from '../../support/block-chains.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';
import { NULL_DISK, type Sent, ServedQueue, UNTOUCHED } from '../../support/served-queue.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = RequestType;
const EIO = -5;
const LAST = NULL_DISK.sizeBytes / 512;
const range = rangeBytes([{ sector: 0, sectors: 8 }]);
const wrongFlags = rangeBytes([{ sector: 0, sectors: 8, flags: 2 }]);

/** A request, its status, and what the used ring says was written, status byte included. */
type Row = readonly [name: string, sent: Sent, status: number, usedLength: number];

const ROWS: readonly Row[] = [
  ['a read', { type: IN, room: 4096 }, Status.OK, 4097],
  ['a read of nothing', { type: IN }, Status.OK, 1],
  ['a read beyond the end', { type: IN, sector: LAST, room: 512 }, Status.IOERR, 1],
  ['a read of no whole sectors', { type: IN, room: 513 }, Status.IOERR, 1],
  ['a write', { type: OUT, payload: new Uint8Array(1024) }, Status.OK, 1],
  ['a write with room', { type: OUT, payload: new Uint8Array(512), room: 512 }, Status.OK, 1],
  [
    'a write beyond the end',
    { type: OUT, sector: LAST, payload: new Uint8Array(512) },
    Status.IOERR,
    1,
  ],
  ['a flush', { type: FLUSH }, Status.OK, 1],
  ['a flush with room', { type: FLUSH, room: 512 }, Status.OK, 1],
  ['an ID', { type: GET_ID, room: 20 }, Status.OK, 21],
  ['an ID in little room', { type: GET_ID, room: 7 }, Status.OK, 8],
  ['an ID in much room', { type: GET_ID, room: 512 }, Status.OK, 21],
  ['a discard', { type: DISCARD, payload: range }, Status.OK, 1],
  ['a discard with a reserved flag', { type: DISCARD, payload: wrongFlags }, Status.UNSUPP, 1],
  ['a discard of nothing', { type: DISCARD }, Status.IOERR, 1],
  ['zeroing', { type: WRITE_ZEROES, payload: range }, Status.OK, 1],
  ['zeroing with a reserved flag', { type: WRITE_ZEROES, payload: wrongFlags }, Status.UNSUPP, 1],
  ['an unknown type', { type: 99, room: 512 }, Status.UNSUPP, 1],
];

for (const [name, sent, status, usedLength] of ROWS) {
  test(`${name} is answered with status ${status} and ${usedLength} bytes`, () => {
    using served = new ServedQueue();
    const answer = served.ask(sent);
    assert.deepEqual([answer.status, answer.usedLength], [status, usedLength]);
    const untouched = sent.type === GET_ID ? answer.room.subarray(usedLength - 1) : answer.room;
    assert.ok(untouched.every((byte) => byte === UNTOUCHED));
    assert.equal(served.queue.inFlight, 0);
  });
}

const FAILING: readonly Sent[] = [
  { type: IN, room: 512 },
  { type: OUT, payload: new Uint8Array(512) },
  { type: FLUSH },
  { type: DISCARD, payload: range },
  { type: WRITE_ZEROES, payload: range },
];

test('what the disk fails is answered IOERR with nothing but the status written', () => {
  for (const isPending of [false, true]) {
    const channel = new ScriptedChannel();
    using served = new ServedQueue({ openChannel: channel.open });
    for (const sent of FAILING) {
      channel.results = [isPending ? PENDING : EIO];
      served.send(sent);
      if (isPending) {
        assert.equal(served.answers().length, 0);
        channel.finish(EIO);
        served.queue.poll();
      }
      const [answer] = served.answers();
      assert.deepEqual([answer.status, answer.usedLength], [Status.IOERR, 1]);
    }
    assert.deepEqual(served.counted(), { diskErrors: FAILING.length, calls: FAILING.length });
  }
});

test('counters tell requests, bytes and mistakes apart', () => {
  using served = new ServedQueue();
  for (const [, sent] of ROWS) served.ask(sent);
  assert.deepEqual(served.counted(), {
    reads: 2,
    readBytes: 4096,
    writes: 2,
    writtenBytes: 1536,
    flushes: 2,
    getIds: 3,
    discards: 1,
    writeZeroes: 1,
    invalidRequests: 4,
    unsupportedRequests: 3,
    calls: ROWS.length,
  });
});

test('a short header is a mistake, whatever it begins with', () => {
  using served = new ServedQueue();
  const at = served.ram.at(0, 0, 16);
  at.bytes.fill(0);
  served.addPieces([
    { address: at.guestAddress, length: 8, isWritable: false },
    { address: at.guestAddress + 15, length: 1, isWritable: true },
  ]);
  served.send();
  assert.equal(at.bytes[15], Status.IOERR);
  assert.deepEqual(served.counted(), { invalidRequests: 1, calls: 1 });
});

test('features not negotiated and a read-only disk are seen by each request', () => {
  const features = ALL_FEATURES & ~featureSet(BlockFeature.DISCARD);
  using without = new ServedQueue({ features });
  assert.equal(without.ask({ type: DISCARD, payload: range }).status, Status.UNSUPP);
  using fixed = new ServedQueue({ disk: new NullDisk({ ...NULL_DISK, readOnly: true }) });
  const write = { type: OUT, payload: new Uint8Array(512) };
  assert.equal(fixed.ask(write).status, Status.IOERR);
  assert.equal(fixed.ask({ type: IN, room: 512 }).status, Status.OK);
});

test('answers come in the order the disk finishes, each to its own request', () => {
  const channel = new ScriptedChannel();
  channel.results = [PENDING, PENDING];
  using served = new ServedQueue({ openChannel: channel.open });
  const heads = [1, 2].map((sectors) => served.add({ type: IN, room: sectors * 512 }));
  served.send();
  channel.finish(0, 1);
  served.queue.poll();
  channel.finish(EIO);
  served.queue.poll();
  const seen = served.answers().map(({ head, status, usedLength }) => [head, status, usedLength]);
  assert.deepEqual(seen, [
    [heads[1], Status.OK, 1025],
    [heads[0], Status.IOERR, 1],
  ]);
});
