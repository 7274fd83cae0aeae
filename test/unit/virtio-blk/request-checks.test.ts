/** What can be wrong with a request of any type, and how each mistake is answered. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { START_DISK, UNANSWERABLE } from '../../../src/virtio-blk/request-parser.ts';
import { headerBytes, joinBytes } from '../../support/block-chains.ts';
import { HEADER, RAM_START, STATUS, STATUS_AT, VerdictBench } from '../../support/verdict-bench.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = RequestType;
const bench = new VerdictBench();
const CAPACITY = bench.capacitySectors;
after(() => bench[Symbol.dispose]());

test('a header of less than 16 bytes gets IOERR, and a type that is none', () => {
  for (const length of [1, 4, 15]) {
    const parsed = bench.parse(headerBytes(IN).subarray(0, length), 512);
    assert.equal(parsed.verdict, Status.IOERR);
    assert.equal(parsed.type, 0xff);
  }
});

test('a header that nobody can read gets IOERR', () => {
  for (const address of [0, RAM_START - 8, STATUS_AT - 8]) {
    const header = { ...HEADER, address };
    assert.equal(bench.parsePieces(IN, [header, STATUS]).verdict, Status.IOERR);
  }
  assert.equal(bench.parsePieces(IN, [STATUS]).verdict, Status.IOERR, 'there is none');
});

test('a request without a byte for its status cannot be answered', () => {
  assert.equal(bench.parsePieces(FLUSH, [HEADER]).verdict, UNANSWERABLE);
  assert.equal(bench.parsePieces(FLUSH, [HEADER, { ...STATUS, length: 0 }]).verdict, UNANSWERABLE);
  for (const address of [STATUS_AT + 1, RAM_START - 1, 2 ** 40]) {
    assert.equal(bench.parsePieces(FLUSH, [HEADER, { ...STATUS, address }]).verdict, UNANSWERABLE);
  }
  const overEnd = { address: STATUS_AT, length: 2, isWritable: true };
  assert.equal(bench.parsePieces(FLUSH, [HEADER, overEnd]).verdict, UNANSWERABLE);
});

test('the status byte of a buffer that crosses 4 GiB is found', () => {
  const room = { address: 0xffff_fe00, length: 513, isWritable: true };
  const parsed = bench.parsePieces(IN, [HEADER, room]);
  assert.equal(parsed.verdict, START_DISK);
  assert.equal(parsed.statusAddress, 0x1_0000_0000);
});

test('a type that is not known gets UNSUPP', () => {
  const large = [0x1_0000, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1];
  for (const type of [2, 3, 5, 10, 14, 15, 16, 255, 256, 264, ...large]) {
    const parsed = bench.parse(joinBytes(headerBytes(type), new Uint8Array(512)), 512);
    assert.equal(parsed.verdict, Status.UNSUPP, `${type}`);
    assert.equal(parsed.type, Math.min(type, 0xff), 'not taken for another type when counted');
  }
});

test('FLUSH goes to the disk, whatever its sector', () => {
  assert.equal(bench.verdict(FLUSH, 0), START_DISK);
  assert.equal(bench.verdict(FLUSH, CAPACITY + 5), START_DISK);
});

test('GET_ID gives as much as there is room for', () => {
  using named = new VerdictBench({ serial: 'a serial number of 24 b.' });
  const expected = Buffer.from('a serial number of 2');
  for (const room of [0, 1, 19, 20, 21, 512]) {
    const bytes = named.room.subarray(0, 512).fill(0xee);
    const parsed = named.parse(headerBytes(GET_ID), room);
    const written = Math.min(room, 20);
    assert.equal(parsed.verdict, Status.OK);
    assert.equal(parsed.writtenBytes, written);
    assert.deepEqual(Buffer.from(bytes.subarray(0, written)), expected.subarray(0, written));
    assert.ok(bytes.subarray(written).every((byte) => byte === 0xee));
  }
});

test('GET_ID into what is not memory gets IOERR', () => {
  const room = { address: RAM_START - 10, length: 20, isWritable: true };
  const good = { address: RAM_START + 512, length: 20, isWritable: true };
  assert.equal(bench.parsePieces(GET_ID, [HEADER, good, STATUS]).writtenBytes, 20);
  const parsed = bench.parsePieces(GET_ID, [HEADER, room, STATUS]);
  assert.equal(parsed.verdict, Status.IOERR);
  assert.equal(parsed.writtenBytes, 0);
});

test('a disk that is read-only refuses all writing with IOERR, and reads and flushes', () => {
  using fixed = new VerdictBench({ readOnly: true });
  const range = [{ sector: 0, sectors: 1 }];
  const payload = joinBytes(headerBytes(OUT, 0), new Uint8Array(512));
  assert.equal(fixed.parse(payload).verdict, Status.IOERR);
  assert.equal(fixed.rangeVerdict(DISCARD, range), Status.IOERR);
  assert.equal(fixed.rangeVerdict(WRITE_ZEROES, range), Status.IOERR);
  assert.equal(fixed.parse(headerBytes(IN, 0), 512).verdict, START_DISK);
  assert.equal(fixed.parse(headerBytes(FLUSH)).verdict, START_DISK);
});
