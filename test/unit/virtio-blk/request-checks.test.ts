/** What is wrong with a request, and the status each mistake is answered with. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { GuestRam } from '../../../src/testing/index.ts';
import {
  BlockFeature,
  featureSet,
  Limit,
  RequestType,
  Status,
} from '../../../src/virtio-blk/index.ts';
import { START_DISK, UNANSWERABLE } from '../../../src/virtio-blk/request-parser.ts';
import {
  type ChainPiece,
  headerBytes,
  joinBytes,
  type RangeFields,
  rangeBytes,
} from '../../support/block-chains.ts';
import { ALL_FEATURES, type ParsedRequest, ParserBench } from '../../support/parser-bench.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = RequestType;
const START = 0xffff_0000;
const RAM_BYTES = 2 ** 20;
const STATUS_AT = START + RAM_BYTES - 1;
const ram = new GuestRam([{ guestAddress: START, sizeBytes: RAM_BYTES }]);
const bench = new ParserBench(ram);
const CAPACITY = bench.state.capacitySectors;
after(() => {
  bench[Symbol.dispose]();
  ram[Symbol.dispose]();
});

const status: ChainPiece = { address: STATUS_AT, length: 1, isWritable: true };

/** Parse these readable bytes, room for `room` bytes, and a status byte. */
function parse(readable: Uint8Array, room = 0, using = bench): ParsedRequest {
  ram.at(0, 0, RAM_BYTES / 2).bytes.set(readable);
  const pieces: ChainPiece[] = [{ address: START, length: readable.length, isWritable: false }];
  if (room > 0) pieces.push({ address: START + RAM_BYTES / 2, length: room, isWritable: true });
  return using.parse([...pieces, status]);
}

function verdict(type: number, sector: number | bigint, payload = 0, room = 0): number {
  return parse(joinBytes(headerBytes(type, sector), new Uint8Array(payload)), room).verdict;
}

function rangeVerdict(type: number, ranges: readonly RangeFields[], using = bench): number {
  return parse(joinBytes(headerBytes(type), rangeBytes(ranges)), 0, using).verdict;
}

describe('transfers', () => {
  test('may end with the last sector, and not one sector further: IOERR', () => {
    assert.equal(verdict(IN, CAPACITY - 2, 0, 1024), START_DISK);
    assert.equal(verdict(IN, CAPACITY - 1, 0, 1024), Status.IOERR);
    assert.equal(verdict(OUT, CAPACITY - 1, 512), START_DISK);
    assert.equal(verdict(OUT, CAPACITY, 512), Status.IOERR);
  });

  test('beyond the end by any number, however it overflows, get IOERR', () => {
    const sectors = [2n ** 32n, 2n ** 53n, 2n ** 55n, 2n ** 55n - 1n, 2n ** 63n, 2n ** 64n - 1n];
    for (const sector of sectors) {
      assert.equal(verdict(IN, sector, 0, 512), Status.IOERR, `IN at ${sector}`);
      assert.equal(verdict(OUT, sector, 512), Status.IOERR, `OUT at ${sector}`);
    }
  });

  test('follow a capacity that changes', () => {
    bench.state.capacitySectors = 8;
    assert.equal(verdict(IN, 8, 0, 512), Status.IOERR);
    bench.state.capacitySectors = 9;
    assert.equal(verdict(IN, 8, 0, 512), START_DISK);
    bench.state.capacitySectors = CAPACITY;
  });

  test('of a large disk keep every bit of their offset', () => {
    bench.state.capacitySectors = 2 ** 44;
    for (const sector of [2 ** 23, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 43 + 2 ** 23 + 1]) {
      const parsed = parse(headerBytes(IN, sector), 512);
      assert.equal(parsed.offsetBytes, sector * 512);
    }
    bench.state.capacitySectors = CAPACITY;
  });

  test('of no whole number of sectors get IOERR', () => {
    for (const bytes of [1, 511, 513, 1000]) {
      assert.equal(verdict(IN, 0, 0, bytes), Status.IOERR);
      assert.equal(verdict(OUT, 0, bytes), Status.IOERR);
    }
  });

  test('of sectors that are no whole block are let through, as firmware sends them', () => {
    using large = new ParserBench(ram, { logicalBlockBytes: 4096 });
    assert.equal(parse(headerBytes(IN, 1), 512, large).verdict, START_DISK);
  });

  test('of nothing are OK at once, within the disk', () => {
    assert.equal(verdict(IN, 0), Status.OK);
    assert.equal(verdict(OUT, CAPACITY), Status.OK);
    assert.equal(verdict(OUT, CAPACITY + 1), Status.IOERR);
  });

  test('with data in the wrong direction have none: room is not read, data not written to', () => {
    assert.equal(verdict(OUT, 0, 0, 512), Status.OK);
    assert.equal(verdict(IN, 0, 512, 0), Status.OK);
  });

  test('from or to addresses that are not memory get IOERR', () => {
    const header = { address: START, length: 16, isWritable: false };
    ram.at(0, 0, 16).bytes.set(headerBytes(IN, 0));
    const places = [0, START - 512, START - 1, STATUS_AT - 510, STATUS_AT + 1, 2 ** 52];
    for (const address of places) {
      const room = { address, length: 512, isWritable: true };
      assert.equal(bench.parse([header, room, status]).verdict, Status.IOERR, `${address}`);
    }
  });

  test('of 2 GiB and more get IOERR', () => {
    const size = 3 * 2 ** 30;
    using large = new GuestRam([{ guestAddress: 0, sizeBytes: size }]);
    using its = new ParserBench(large);
    its.state.capacitySectors = 2 ** 30;
    large.at(0, 0, 16).bytes.set(headerBytes(IN, 0));
    const verdictOf = (length: number): number =>
      its.parse([
        { address: 0, length: 16, isWritable: false },
        { address: 512, length: length + 1, isWritable: true },
      ]).verdict;
    assert.equal(verdictOf(2 ** 31 - 4096), START_DISK);
    assert.equal(verdictOf(2 ** 31 - 4096 + 512), Status.IOERR);
    assert.equal(verdictOf(2 ** 31), Status.IOERR);
    assert.equal(verdictOf(size - 1024), Status.IOERR);
  });

  test('in more than 256 pieces of memory get IOERR', () => {
    const count = (pieces: number): ParsedRequest => {
      ram.at(0, 0, 16).bytes.set(headerBytes(IN, 0));
      const room = { address: START + 512, length: 512, isWritable: true };
      const header = { address: START, length: 16, isWritable: false };
      return bench.parse([header, ...new Array<ChainPiece>(pieces).fill(room), status]);
    };
    assert.ok(Limit.SEGMENTS <= 256, 'what drivers are told is less');
    assert.equal(count(256).verdict, START_DISK);
    assert.equal(count(257).verdict, Status.IOERR);
  });
});

describe('header and status byte', () => {
  test('a header of less than 16 bytes gets IOERR, and a type that is none', () => {
    for (const length of [1, 4, 15]) {
      const parsed = parse(headerBytes(IN).subarray(0, length), 512);
      assert.equal(parsed.verdict, Status.IOERR);
      assert.equal(parsed.type, 0xff);
    }
  });

  test('a header that nobody can read gets IOERR', () => {
    for (const address of [0, START - 8, STATUS_AT - 8]) {
      const header = { address, length: 16, isWritable: false };
      assert.equal(bench.parse([header, status]).verdict, Status.IOERR);
    }
    assert.equal(bench.parse([status]).verdict, Status.IOERR, 'there is none');
  });

  test('a request without a byte for its status cannot be answered', () => {
    ram.at(0, 0, 16).bytes.set(headerBytes(FLUSH));
    const header = { address: START, length: 16, isWritable: false };
    assert.equal(bench.parse([header]).verdict, UNANSWERABLE);
    assert.equal(bench.parse([header, { ...status, length: 0 }]).verdict, UNANSWERABLE);
    for (const address of [STATUS_AT + 1, START - 1, 2 ** 40]) {
      assert.equal(bench.parse([header, { ...status, address }]).verdict, UNANSWERABLE);
    }
    const overEnd = { address: STATUS_AT, length: 2, isWritable: true };
    assert.equal(bench.parse([header, overEnd]).verdict, UNANSWERABLE);
  });

  test('the status byte of a buffer that crosses 4 GiB is found', () => {
    const room = { address: 0xffff_fe00, length: 513, isWritable: true };
    ram.at(0, 0, 16).bytes.set(headerBytes(IN, 0));
    const parsed = bench.parse([{ address: START, length: 16, isWritable: false }, room]);
    assert.equal(parsed.verdict, START_DISK);
    assert.equal(parsed.statusAddress, 0x1_0000_0000);
  });
});

describe('other requests', () => {
  test('a type that is not known gets UNSUPP', () => {
    const types = [
      2,
      3,
      5,
      10,
      14,
      15,
      16,
      255,
      256,
      264,
      0x1_0000,
      2 ** 31,
      2 ** 31 + 1,
      2 ** 32 - 1,
    ];
    for (const type of types) {
      const parsed = parse(joinBytes(headerBytes(type), new Uint8Array(512)), 512);
      assert.equal(parsed.verdict, Status.UNSUPP, `${type}`);
      assert.equal(parsed.type, Math.min(type, 0xff), 'not taken for another type when counted');
    }
  });

  test('FLUSH goes to the disk, whatever its sector', () => {
    assert.equal(verdict(FLUSH, 0), START_DISK);
    assert.equal(verdict(FLUSH, CAPACITY + 5), START_DISK);
  });

  test('GET_ID gives as much as there is room for', () => {
    using named = new ParserBench(ram, { serial: 'a serial number of 24 b.' });
    const expected = Buffer.from('a serial number of 2');
    for (const room of [0, 1, 19, 20, 21, 512]) {
      const bytes = ram.at(0, RAM_BYTES / 2, 512).bytes.fill(0xee);
      const parsed = parse(headerBytes(GET_ID), room, named);
      const written = Math.min(room, 20);
      assert.equal(parsed.verdict, Status.OK);
      assert.equal(parsed.writtenBytes, written);
      assert.deepEqual(Buffer.from(bytes.subarray(0, written)), expected.subarray(0, written));
      assert.ok(bytes.subarray(written).every((byte) => byte === 0xee));
    }
  });

  test('GET_ID into what is not memory gets IOERR', () => {
    ram.at(0, 0, 16).bytes.set(headerBytes(GET_ID));
    const header = { address: START, length: 16, isWritable: false };
    const room = { address: START - 10, length: 20, isWritable: true };
    const good = { address: START + 512, length: 20, isWritable: true };
    assert.equal(bench.parse([header, good, status]).writtenBytes, 20);
    const parsed = bench.parse([header, room, status]);
    assert.equal(parsed.verdict, Status.IOERR);
    assert.equal(parsed.writtenBytes, 0);
  });

  test('a disk that is read-only refuses all writing with IOERR, and reads and flushes', () => {
    using fixed = new ParserBench(ram, { readOnly: true });
    const range = [{ sector: 0, sectors: 1 }];
    const payload = joinBytes(headerBytes(OUT, 0), new Uint8Array(512));
    assert.equal(parse(payload, 0, fixed).verdict, Status.IOERR);
    assert.equal(rangeVerdict(DISCARD, range, fixed), Status.IOERR);
    assert.equal(rangeVerdict(WRITE_ZEROES, range, fixed), Status.IOERR);
    assert.equal(parse(headerBytes(IN, 0), 512, fixed).verdict, START_DISK);
    assert.equal(parse(headerBytes(FLUSH), 0, fixed).verdict, START_DISK);
  });
});

describe('DISCARD and WRITE_ZEROES', () => {
  const types = [DISCARD, WRITE_ZEROES];
  const good: RangeFields = { sector: 8, sectors: 8 };

  test('not negotiated get UNSUPP, each by its own feature', () => {
    for (const [type, bit] of [
      [DISCARD, BlockFeature.DISCARD],
      [WRITE_ZEROES, BlockFeature.WRITE_ZEROES],
    ]) {
      using without = new ParserBench(ram, { features: ALL_FEATURES & ~featureSet(bit) });
      const other = type === DISCARD ? WRITE_ZEROES : DISCARD;
      assert.equal(rangeVerdict(type, [good], without), Status.UNSUPP);
      assert.equal(rangeVerdict(other, [good], without), START_DISK);
    }
  });

  test('a reserved flag in any range gets UNSUPP, unmap too in a DISCARD', () => {
    for (const flags of [2, 4, 0x8000_0000, 3]) {
      for (const type of types) {
        assert.equal(rangeVerdict(type, [good, { ...good, flags }]), Status.UNSUPP);
      }
    }
    assert.equal(rangeVerdict(DISCARD, [{ ...good, flags: 1 }]), Status.UNSUPP);
    assert.equal(rangeVerdict(WRITE_ZEROES, [{ ...good, flags: 1 }]), START_DISK);
  });

  test('a payload that is empty, no whole number of ranges, or more than 16 gets IOERR', () => {
    for (const type of types) {
      for (const bytes of [0, 1, 15, 17, 40, 17 * 16]) {
        assert.equal(verdict(type, 0, bytes), Status.IOERR, `${bytes} bytes`);
      }
      assert.equal(rangeVerdict(type, new Array<RangeFields>(16).fill(good)), START_DISK);
    }
  });

  test('a range that ends beyond the disk, in any position, gets IOERR', () => {
    for (const type of types) {
      const bad: RangeFields[] = [
        { sector: CAPACITY - 7, sectors: 8 },
        { sector: CAPACITY, sectors: 1 },
        { sector: 2n ** 64n - 1n, sectors: 1 },
        { sector: 2n ** 64n - 8n, sectors: 16 },
        { sector: 2n ** 53n, sectors: 1 },
      ];
      for (const range of bad) {
        assert.equal(rangeVerdict(type, [range]), Status.IOERR);
        assert.equal(rangeVerdict(type, [good, good, range]), Status.IOERR);
      }
      assert.equal(rangeVerdict(type, [{ sector: CAPACITY - 8, sectors: 8 }]), START_DISK);
    }
  });

  test('a range longer than the limit gets IOERR', () => {
    for (const type of types) {
      assert.equal(rangeVerdict(type, [{ sector: 0, sectors: Limit.RANGE_SECTORS }]), START_DISK);
      const longer = { sector: 0, sectors: Limit.RANGE_SECTORS + 1 };
      assert.equal(rangeVerdict(type, [longer]), Status.IOERR);
      assert.equal(rangeVerdict(type, [{ sector: 0, sectors: 0xffff_ffff }]), Status.IOERR);
    }
  });

  test('a range that is no whole number of blocks gets IOERR', () => {
    using large = new ParserBench(ram, { logicalBlockBytes: 4096 });
    for (const type of types) {
      assert.equal(rangeVerdict(type, [{ sector: 8, sectors: 8 }], large), START_DISK);
      assert.equal(rangeVerdict(type, [{ sector: 7, sectors: 8 }], large), Status.IOERR);
      assert.equal(rangeVerdict(type, [{ sector: 8, sectors: 9 }], large), Status.IOERR);
    }
  });
});
