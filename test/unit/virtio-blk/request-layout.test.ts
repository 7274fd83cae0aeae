/**
 * The layout of a request means nothing (virtio 1.3, 2.7.4): cut at any place into any number of
 * descriptors, scattered over regions, direct or indirect, it stays the same request.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { GuestRam } from '../../../src/testing/index.ts';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { START_DISK } from '../../../src/virtio-blk/request-parser.ts';
import {
  type ChainPiece,
  headerBytes,
  joinBytes,
  PieceAllocator,
  rangeBytes,
} from '../../support/block-chains.ts';
import { ParserBench } from '../../support/parser-bench.ts';
import { propertyOptions } from '../../support/property-options.ts';

const MiB = 2 ** 20;
const TABLES = 3;
/** Two regions that touch, one above 4 GiB, and one for indirect tables. */
const ram = new GuestRam([
  { guestAddress: MiB, sizeBytes: MiB },
  { guestAddress: 2 * MiB, sizeBytes: MiB },
  { guestAddress: 0x1_0000_0000 - 4096, sizeBytes: MiB },
  { guestAddress: 0x9_0000_0000, sizeBytes: 64 * 1024 },
]);
const benches = [new ParserBench(ram), new ParserBench(ram, {}, TABLES)];
const SERIAL = new TextEncoder().encode('disk');
after(() => {
  for (const bench of benches) bench[Symbol.dispose]();
  ram[Symbol.dispose]();
});

/** A request with nothing said of its layout. */
interface Request {
  readonly type: number;
  readonly sector: number;
  readonly payload: Uint8Array;
  readonly room: number;
}

/** Where to cut, in thousandths of the bytes; which pieces go to which region; empty ones. */
interface Layout {
  readonly cuts: readonly number[];
  readonly regions: readonly number[];
  readonly empty: readonly number[];
  readonly indirect: boolean;
}

const sector = fc.nat(2 ** 20);
const request: fc.Arbitrary<Request> = fc.oneof(
  fc.record({
    type: fc.constant<number>(RequestType.OUT),
    sector,
    payload: fc.integer({ min: 1, max: 8 }).map((count) => new Uint8Array(count * 512)),
    room: fc.constant(0),
  }),
  fc.record({
    type: fc.constantFrom<number>(RequestType.IN),
    sector,
    payload: fc.constant(new Uint8Array(0)),
    room: fc.integer({ min: 1, max: 8 }).map((count) => count * 512),
  }),
  fc.record({
    type: fc.constantFrom<number>(RequestType.FLUSH, RequestType.GET_ID),
    sector,
    payload: fc.constant(new Uint8Array(0)),
    room: fc.constant(20),
  }),
  fc.record({
    type: fc.constantFrom<number>(RequestType.DISCARD, RequestType.WRITE_ZEROES),
    sector,
    payload: fc
      .array(fc.record({ sector: fc.nat(2 ** 20), sectors: fc.nat(2 ** 16) }), {
        minLength: 1,
        maxLength: 16,
      })
      .map(rangeBytes),
    room: fc.constant(0),
  }),
);

const layout: fc.Arbitrary<Layout> = fc.record({
  cuts: fc.array(fc.nat(1000), { maxLength: 12, size: 'max' }),
  regions: fc.array(fc.nat(2), { minLength: 1, maxLength: 16 }),
  empty: fc.array(fc.nat(20), { maxLength: 3 }),
  indirect: fc.boolean(),
});

/** A byte of guest memory. */
type Place = { readonly address: number; readonly bytes: Uint8Array };

/** Cut `bytes` into pieces and lay them out. `places` gets where each byte went. */
function scatter(
  bytes: Uint8Array,
  isWritable: boolean,
  given: Layout,
  allocator: PieceAllocator,
  places: Place[],
): ChainPiece[] {
  const at = given.cuts.map((cut) => Math.floor((cut * bytes.length) / 1000));
  const bounds = [0, ...at.sort((a, b) => a - b), bytes.length];
  const pieces: ChainPiece[] = [];
  for (let index = 0; index + 1 < bounds.length; index++) {
    const length = bounds[index + 1] - bounds[index];
    if (length === 0 && !given.empty.includes(index)) continue;
    const region = given.regions[index % given.regions.length];
    const piece = allocator.take(length, region, index % 3);
    piece.bytes.set(bytes.subarray(bounds[index], bounds[index + 1]));
    pieces.push({ address: piece.address, length, isWritable });
    for (let byte = 0; byte < length; byte++) {
      places.push({ address: piece.address + byte, bytes: piece.bytes.subarray(byte, byte + 1) });
    }
  }
  return pieces;
}

/** Host address of a guest address. */
function hostOf(address: number): number {
  const region = ram.regions.find(
    ({ guestAddress, sizeBytes }) => address >= guestAddress && address < guestAddress + sizeBytes,
  );
  assert.ok(region !== undefined);
  return region.mapping.address + address - region.guestAddress;
}

/** The bytes of the list, each by its host address. */
function hostBytes(memory: readonly { host: number; length: number }[]): number[] {
  return memory.flatMap(({ host, length }) => Array.from({ length }, (_, byte) => host + byte));
}

test('a request is the same request in any layout', () => {
  fc.assert(
    fc.property(request, layout, (given, how) => {
      const bench = benches[how.indirect ? 1 : 0];
      const allocator = new PieceAllocator(ram);
      const readable: Place[] = [];
      const writable: Place[] = [];
      const sent = joinBytes(headerBytes(given.type, given.sector), given.payload);
      const room = new Uint8Array(given.room + 1);
      const parsed = bench.parse([
        ...scatter(sent, false, how, allocator, readable),
        ...scatter(room, true, how, allocator, writable),
      ]);
      assert.equal(parsed.type, given.type);
      assert.equal(parsed.statusAddress, writable[given.room].address);
      const addresses = (places: readonly Place[]) => places.map(({ address }) => hostOf(address));
      if (given.type === RequestType.GET_ID) {
        assert.equal(parsed.verdict, Status.OK);
        assert.equal(parsed.writtenBytes, 20);
        const id = writable.slice(0, 20).map(({ bytes }) => bytes[0]);
        assert.deepEqual(id, [...SERIAL, ...new Array(16).fill(0)]);
        return;
      }
      assert.equal(parsed.verdict, START_DISK);
      if (given.type === RequestType.IN || given.type === RequestType.OUT) {
        const data = given.type === RequestType.IN ? writable.slice(0, -1) : readable.slice(16);
        assert.deepEqual(hostBytes(parsed.memory), addresses(data));
        assert.equal(parsed.lengthBytes, data.length);
        assert.equal(parsed.offsetBytes, given.sector * 512);
      } else if (given.type !== RequestType.FLUSH) {
        const again = rangeBytes(parsed.ranges);
        assert.deepEqual(again, given.payload);
      }
    }),
    propertyOptions(400),
  );
});

test('a buffer across two regions that touch becomes two pieces of host memory', () => {
  const header: ChainPiece = { address: MiB, length: 16, isWritable: false };
  ram.at(0, 0, 16).bytes.set(headerBytes(RequestType.IN, 7));
  const room = { address: 2 * MiB - 512, length: 1025, isWritable: true };
  const parsed = benches[0].parse([header, room]);
  assert.equal(parsed.verdict, START_DISK);
  assert.deepEqual(parsed.memory, [
    { host: hostOf(2 * MiB - 512), length: 512 },
    { host: hostOf(2 * MiB), length: 512 },
  ]);
  assert.equal(parsed.statusAddress, 2 * MiB + 512);
});

test('a header across two regions that touch is read', () => {
  const bytes = headerBytes(RequestType.OUT, 0x1234);
  ram.at(0, MiB - 9, 9).bytes.set(bytes.subarray(0, 9));
  ram.at(1, 0, 7).bytes.set(bytes.subarray(9));
  const parsed = benches[0].parse([
    { address: 2 * MiB - 9, length: 16 + 512, isWritable: false },
    { address: MiB, length: 1, isWritable: true },
  ]);
  assert.equal(parsed.verdict, START_DISK);
  assert.equal(parsed.offsetBytes, 0x1234 * 512);
  assert.deepEqual(parsed.memory, [{ host: hostOf(2 * MiB + 7), length: 512 }]);
});

test('a request across 4 GiB keeps its addresses: header, data, and what is left of a piece', () => {
  const line = 2 ** 32;
  using crossing = new GuestRam([
    { guestAddress: line - 8192, sizeBytes: 8192 },
    { guestAddress: line, sizeBytes: 8192 },
  ]);
  using bench = new ParserBench(crossing);
  const below = crossing.regions[0].mapping.address;
  const above = crossing.regions[1].mapping.address;
  crossing.at(0, 8192 - 16, 16).bytes.set(headerBytes(RequestType.OUT, 1));
  const status = { address: line - 8192, length: 1, isWritable: true };
  const whole = { address: line - 16, length: 16 + 512, isWritable: false };
  assert.deepEqual(bench.parse([whole, status]).memory, [{ host: above, length: 512 }]);
  const header = { address: line - 16, length: 16, isWritable: false };
  const data = { address: line - 100, length: 512, isWritable: false };
  assert.deepEqual(bench.parse([header, data, status]).memory, [
    { host: below + 8192 - 100, length: 100 },
    { host: above, length: 412 },
  ]);
});
