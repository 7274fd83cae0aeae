/** What can be wrong with IN and OUT, and the status each mistake is answered with. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { GuestRam } from '../../../src/testing/index.ts';
import { Limit, RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { START_DISK } from '../../../src/virtio-blk/request-parser.ts';
import { type ChainPiece, headerBytes } from '../../support/block-chains.ts';
import { type ParsedRequest, ParserBench } from '../../support/parser-bench.ts';
import { HEADER, RAM_START, STATUS, STATUS_AT, VerdictBench } from '../../support/verdict-bench.ts';

const { IN, OUT } = RequestType;
const bench = new VerdictBench();
const CAPACITY = bench.capacitySectors;
after(() => bench[Symbol.dispose]());

test('transfers may end with the last sector, and not one sector further: IOERR', () => {
  assert.equal(bench.verdict(IN, CAPACITY - 2, 0, 1024), START_DISK);
  assert.equal(bench.verdict(IN, CAPACITY - 1, 0, 1024), Status.IOERR);
  assert.equal(bench.verdict(OUT, CAPACITY - 1, 512), START_DISK);
  assert.equal(bench.verdict(OUT, CAPACITY, 512), Status.IOERR);
});

test('transfers beyond the end by any number, however it overflows, get IOERR', () => {
  const sectors = [2n ** 32n, 2n ** 53n, 2n ** 55n, 2n ** 55n - 1n, 2n ** 63n, 2n ** 64n - 1n];
  for (const sector of sectors) {
    assert.equal(bench.verdict(IN, sector, 0, 512), Status.IOERR, `IN at ${sector}`);
    assert.equal(bench.verdict(OUT, sector, 512), Status.IOERR, `OUT at ${sector}`);
  }
});

test('transfers follow a capacity that changes', () => {
  bench.capacitySectors = 8;
  assert.equal(bench.verdict(IN, 8, 0, 512), Status.IOERR);
  bench.capacitySectors = 9;
  assert.equal(bench.verdict(IN, 8, 0, 512), START_DISK);
  bench.capacitySectors = CAPACITY;
});

test('transfers of a large disk keep every bit of their offset', () => {
  bench.capacitySectors = 2 ** 44;
  for (const sector of [2 ** 23, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 43 + 2 ** 23 + 1]) {
    const parsed = bench.parse(headerBytes(IN, sector), 512);
    assert.equal(parsed.offsetBytes, sector * 512);
  }
  bench.capacitySectors = CAPACITY;
});

test('transfers of no whole number of sectors get IOERR', () => {
  for (const bytes of [1, 511, 513, 1000]) {
    assert.equal(bench.verdict(IN, 0, 0, bytes), Status.IOERR);
    assert.equal(bench.verdict(OUT, 0, bytes), Status.IOERR);
  }
});

test('transfers of sectors that are no whole block are let through, as firmware sends them', () => {
  using large = new VerdictBench({ logicalBlockBytes: 4096 });
  assert.equal(large.parse(headerBytes(IN, 1), 512).verdict, START_DISK);
});

test('transfers of nothing are OK at once, within the disk', () => {
  assert.equal(bench.verdict(IN, 0), Status.OK);
  assert.equal(bench.verdict(OUT, CAPACITY), Status.OK);
  assert.equal(bench.verdict(OUT, CAPACITY + 1), Status.IOERR);
});

test('transfers with data in the wrong direction have none: room is not read, data not written to', () => {
  assert.equal(bench.verdict(OUT, 0, 0, 512), Status.OK);
  assert.equal(bench.verdict(IN, 0, 512, 0), Status.OK);
});

test('transfers from or to addresses that are not memory get IOERR', () => {
  const places = [0, RAM_START - 512, RAM_START - 1, STATUS_AT - 510, STATUS_AT + 1, 2 ** 52];
  for (const address of places) {
    const room = { address, length: 512, isWritable: true };
    assert.equal(bench.parsePieces(IN, [HEADER, room, STATUS]).verdict, Status.IOERR, `${address}`);
  }
});

test('transfers of more than drivers are told get IOERR', () => {
  const size = 3 * 2 ** 30;
  const most = Limit.SEGMENTS * Limit.SEGMENT_BYTES;
  using large = new GuestRam([{ guestAddress: 0, sizeBytes: size }]);
  using its = new ParserBench(large);
  its.state.capacitySectors = 2 ** 30;
  large.at(0, 0, 16).bytes.set(headerBytes(IN, 0));
  const verdictOf = (length: number): number =>
    its.parse([
      { address: 0, length: 16, isWritable: false },
      { address: 512, length: length + 1, isWritable: true },
    ]).verdict;
  assert.equal(verdictOf(most), START_DISK);
  assert.equal(verdictOf(most + 512), Status.IOERR);
  assert.equal(verdictOf(2 ** 31), Status.IOERR);
  assert.equal(verdictOf(size - 1024), Status.IOERR);
});

test('transfers in more than 256 pieces of memory get IOERR', () => {
  const count = (pieces: number): ParsedRequest => {
    const room = { address: RAM_START + 512, length: 512, isWritable: true };
    return bench.parsePieces(IN, [HEADER, ...new Array<ChainPiece>(pieces).fill(room), STATUS]);
  };
  assert.ok(Limit.SEGMENTS <= 256, 'what drivers are told is less');
  assert.equal(count(256).verdict, START_DISK);
  assert.equal(count(257).verdict, Status.IOERR);
});
