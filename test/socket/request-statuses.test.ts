/** What is wrong with a request decides its status, and a wrong request changes nothing. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type BlockRequest, STATUS_UNTOUCHED } from '../../src/testing/index.ts';
import { RANGE_UNMAP, RequestType, SECTOR_BYTES, Status } from '../../src/virtio-blk/index.ts';
import { assertSameBytes, patternBytes, rangesPayload } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const CAPACITY = 2048;
const { IN, OUT, GET_ID, DISCARD, WRITE_ZEROES } = RequestType;
const sectorsOfData = (count: number): Uint8Array => patternBytes(count * SECTOR_BYTES, 9);

interface WrongRequest {
  readonly what: string;
  readonly request: BlockRequest;
  readonly status: number;
}

function wrong(what: string, status: number, request: BlockRequest): WrongRequest {
  return { what, status, request };
}

const TRANSFERS: readonly WrongRequest[] = [
  wrong('IN at the end', Status.IOERR, { type: IN, sector: CAPACITY, room: 512 }),
  wrong('IN across the end', Status.IOERR, { type: IN, sector: CAPACITY - 1, room: 1024 }),
  wrong('OUT at the end', Status.IOERR, { type: OUT, sector: CAPACITY, data: sectorsOfData(1) }),
  wrong('OUT across the end', Status.IOERR, {
    type: OUT,
    sector: CAPACITY - 7,
    data: sectorsOfData(8),
  }),
  wrong('OUT at the last sector there can be', Status.IOERR, {
    type: OUT,
    sector: 2n ** 64n - 1n,
    data: sectorsOfData(1),
  }),
  // Its byte offset is 0 in 64 bits.
  wrong('OUT where the byte offset overflows', Status.IOERR, {
    type: OUT,
    sector: 2n ** 55n,
    data: sectorsOfData(1),
  }),
  wrong('OUT of part of a sector', Status.IOERR, { type: OUT, data: patternBytes(700) }),
  wrong('IN of part of a sector', Status.IOERR, { type: IN, room: 100 }),
];

const RANGES: readonly WrongRequest[] = [
  wrong('DISCARD with unmap', Status.UNSUPP, {
    type: DISCARD,
    data: rangesPayload({ sector: 0, sectors: 8, flags: RANGE_UNMAP }),
  }),
  wrong('WRITE_ZEROES with a reserved flag', Status.UNSUPP, {
    type: WRITE_ZEROES,
    data: rangesPayload({ sector: 0, sectors: 8, flags: 2 }),
  }),
  wrong('WRITE_ZEROES of no segment', Status.IOERR, { type: WRITE_ZEROES }),
  wrong('WRITE_ZEROES of part of a segment', Status.IOERR, {
    type: WRITE_ZEROES,
    data: rangesPayload({ sector: 0, sectors: 8 }).subarray(0, 15),
  }),
  wrong('WRITE_ZEROES of too many segments', Status.IOERR, {
    type: WRITE_ZEROES,
    data: rangesPayload(...Array.from({ length: 17 }, () => ({ sector: 0, sectors: 1 }))),
  }),
  wrong('WRITE_ZEROES across the end', Status.IOERR, {
    type: WRITE_ZEROES,
    data: rangesPayload({ sector: 0, sectors: 8 }, { sector: CAPACITY - 1, sectors: 2 }),
  }),
  wrong('WRITE_ZEROES of more sectors than the limit', Status.IOERR, {
    type: WRITE_ZEROES,
    data: rangesPayload({ sector: 0, sectors: 65537 }),
  }),
  wrong('DISCARD where the sector overflows', Status.IOERR, {
    type: DISCARD,
    data: rangesPayload({ sector: 2n ** 64n - 1n, sectors: 2 }),
  }),
];

/** 10 is GET_LIFETIME, 14 SECURE_ERASE; 0x108 has the low byte of GET_ID. */
const UNKNOWN: readonly WrongRequest[] = [2, 5, 10, 14, 15, 0xff, 0x108, 0x8000_0001].map((type) =>
  wrong(`type ${type}`, Status.UNSUPP, { type, data: sectorsOfData(1), room: 512 }),
);

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`wrong requests, ${engine}`, () => {
    test('each gets its status, touches nothing, and is counted', { skip }, async () => {
      const content = patternBytes(CAPACITY * SECTOR_BYTES);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      for (const { what, request, status } of [...TRANSFERS, ...RANGES, ...UNKNOWN]) {
        const result = await driver.request(request);
        assert.equal(result.status, status, what);
        assert.equal(result.usedLength, 1, what);
        assert.ok(
          result.data.every((byte) => byte === STATUS_UNTOUCHED),
          `${what}: no data`,
        );
      }
      assertSameBytes(disk.readImage(), content, 'image');
      driver.close();
      const unsupported = UNKNOWN.length + 2;
      const invalid = TRANSFERS.length + RANGES.length - 2;
      await disk.server.logged(
        new RegExp(`invalidRequests ${invalid}, unsupportedRequests ${unsupported}, calls`),
      );
    });

    test('the last sector can be read and written', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, sizeBytes: CAPACITY * SECTOR_BYTES });
      const driver = await disk.connect();
      const data = sectorsOfData(1);
      await driver.write(CAPACITY - 1, data);
      assertSameBytes(await driver.read(CAPACITY - 1, 1), data, 'last sector');
      assertSameBytes(disk.readImage((CAPACITY - 1) * 512), data, 'end of the image');
    });

    test('a transfer of nothing succeeds', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect();
      for (const type of [IN, OUT]) {
        const result = await driver.request({ type, sector: 5 });
        assert.deepEqual([result.status, result.usedLength], [Status.OK, 1]);
      }
    });

    test('a read-only disk answers IOERR to writers and stays as it is', { skip }, async () => {
      const content = patternBytes(CAPACITY * SECTOR_BYTES);
      await using disk = await ServedDisk.start({ engine, content, args: ['--read-only'] });
      const driver = await disk.connect();
      const write = await driver.request({ type: OUT, data: sectorsOfData(4) });
      assert.equal(write.status, Status.IOERR);
      for (const type of [DISCARD, WRITE_ZEROES]) {
        // Not offered for a read-only disk, so not negotiated.
        const data = rangesPayload({ sector: 0, sectors: 8 });
        assert.equal((await driver.request({ type, data })).status, Status.UNSUPP);
      }
      assert.equal((await driver.request({ type: GET_ID, room: 20 })).status, Status.OK);
      assertSameBytes(await driver.read(8, 8), content.subarray(4096, 8192), 'data read');
      assertSameBytes(disk.readImage(), content, 'image');
    });
  });
}
