/** In-flight memory as front-ends ask for it and send it: what fits is mapped, the rest refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemfd, createSocketPair, Mapping } from '../../../src/sys/index.ts';
import {
  createInflightArea,
  InflightArea,
  type InflightDescription,
} from '../../../src/vhost-user/inflight-area.ts';
import { KEPT_BYTES } from '../../../src/vhost-user/kept-byte.ts';
import { inflightLogBytes } from '../../../src/virtqueue/index.ts';

const LIMITS = { numQueues: 4, maxQueueSize: 256 };
const SIZE = 128;
const PART_BYTES = inflightLogBytes(SIZE, 'split');
const PACKED_PART_BYTES = inflightLogBytes(SIZE, 'packed');

function shape(change: Partial<InflightDescription> = {}): InflightDescription {
  const whole = { mmapSize: 2 * PART_BYTES, mmapOffset: 0, numQueues: 2, queueSize: SIZE };
  return { ...whole, padding: 0, ...change };
}

test('memory that was asked for is zeroed, keeps its size, and is taken back', () => {
  const { fd, description } = createInflightArea(shape({ mmapSize: 0 }), LIMITS, 'split');
  assert.deepEqual(description, shape({ mmapSize: 2 * PART_BYTES + KEPT_BYTES }));
  const area = new InflightArea(description, fd, LIMITS);
  const part = area.partOf(1, SIZE, 'split');
  assert.deepEqual([part.offsetBytes, part.queueSize], [PART_BYTES, SIZE]);
  const mapping = Mapping.adopt(part.mapping);
  assert.ok(new Uint8Array(mapping.view(0, 2 * PART_BYTES)).every((byte) => byte === 0));
  mapping.close();
  area.close();
  fd.close();
});

test('memory for packed rings is larger, and has DPDK’s free list', () => {
  const { fd, description } = createInflightArea(shape(), LIMITS, 'packed');
  assert.equal(description.mmapSize, 2 * PACKED_PART_BYTES + KEPT_BYTES);
  const area = new InflightArea(description, fd, LIMITS);
  const part = area.partOf(1, SIZE, 'packed');
  assert.equal(part.offsetBytes, PACKED_PART_BYTES);
  const mapping = Mapping.adopt(part.mapping);
  const view = new DataView(mapping.view(part.offsetBytes, PACKED_PART_BYTES));
  assert.equal(view.getUint16(8, true), 0, 'nothing has been written yet');
  assert.deepEqual([view.getUint8(20), view.getUint8(21)], [1, 1], 'wrap counters');
  const links = Array.from({ length: SIZE }, (_, entry) => view.getUint16(34 + 32 * entry, true));
  assert.deepEqual(
    links,
    Array.from({ length: SIZE }, (_, entry) => entry + 1),
  );
  mapping.close();
  area.close();
  fd.close();
});

test('memory that is asked for before the features are known fits either format', () => {
  const { fd, description } = createInflightArea(shape(), LIMITS, undefined);
  const area = new InflightArea(description, fd, LIMITS);
  for (const [format, bytes] of [
    ['split', PART_BYTES],
    ['packed', PACKED_PART_BYTES],
  ] as const) {
    const part = area.partOf(1, SIZE, format);
    assert.equal(part.offsetBytes, bytes);
    Mapping.adopt(part.mapping).close();
  }
  area.close();
  fd.close();
});

test('memory made for split rings does not do for packed ones', () => {
  const { fd, description } = createInflightArea(shape(), LIMITS, 'split');
  const area = new InflightArea(description, fd, LIMITS);
  const message = `in-flight memory of ${2 * PART_BYTES + KEPT_BYTES} bytes, which for packed rings must be ${2 * PACKED_PART_BYTES}`;
  assert.throws(() => area.partOf(0, SIZE, 'packed'), { code: 'BAD_MEMORY', message });
  area.close();
  fd.close();
});

test('a reset clears it', () => {
  const { fd, description } = createInflightArea(shape(), LIMITS, 'packed');
  const area = new InflightArea(description, fd, LIMITS);
  area.keep(200);
  area.clear();
  assert.equal(area.kept, 200, 'what is kept is no log');
  const mapping = Mapping.adopt(area.partOf(0, SIZE, 'packed').mapping);
  const logs = new Uint8Array(mapping.view(0, 2 * PACKED_PART_BYTES));
  assert.ok(logs.every((byte) => byte === 0));
  mapping.close();
  area.close();
  fd.close();
});

test('a byte is kept at the end of memory that was made here, and of no other', () => {
  const { fd, description } = createInflightArea(shape({ mmapSize: 0 }), LIMITS, 'split');
  const first = new InflightArea(description, fd, LIMITS);
  assert.equal(first.kept, undefined);
  first.keep(200);
  first.close();
  const second = new InflightArea(description, fd, LIMITS);
  assert.equal(second.kept, 200);
  second.close();
  fd.close();
  for (const extra of [0, 8, KEPT_BYTES]) {
    const mmapSize = 2 * PART_BYTES + extra;
    using file = createMemfd('inflight', mmapSize);
    const other = new InflightArea(shape({ mmapSize }), file, LIMITS);
    other.keep(200);
    assert.equal(other.kept, undefined);
    other.close();
  }
});

const BAD_SHAPES: readonly (readonly [Partial<InflightDescription>, RegExp])[] = [
  [{ numQueues: 0 }, /0 rings, of which there are 4/],
  [{ numQueues: 5 }, /5 rings/],
  [{ queueSize: 0 }, /rings of 0 descriptors/],
  [{ queueSize: 257 }, /257 descriptors, at most 256/],
];

test('memory of no sensible shape is refused, asked for or sent', () => {
  using file = createMemfd('inflight', 2 ** 20);
  for (const [change, message] of BAD_SHAPES) {
    const expected = { code: 'BAD_MEMORY', message };
    assert.throws(() => createInflightArea(shape(change), LIMITS, 'split'), expected);
    assert.throws(() => new InflightArea(shape(change), file, LIMITS), expected);
  }
});

test('a file that does not hold it is refused', () => {
  using file = createMemfd('inflight', 2 * PART_BYTES);
  const cases: readonly (readonly [Partial<InflightDescription>, RegExp])[] = [
    [{ mmapSize: 2 * PART_BYTES - 1 }, /must be/],
    [{ mmapSize: 2 * PART_BYTES + 1 }, /a file of \d+ bytes, .* ends at/],
    [{ mmapOffset: 64 }, /ends at/],
    [{ mmapOffset: Number.MAX_SAFE_INTEGER - 7 }, /ends at/],
  ];
  for (const [change, message] of cases) {
    const make = (): InflightArea => new InflightArea(shape(change), file, LIMITS);
    assert.throws(make, { code: 'BAD_MEMORY', message });
  }
  using larger = createMemfd('inflight', 4 * PART_BYTES);
  const misaligned = { code: 'BAD_MEMORY', message: /misaligned/ };
  assert.throws(() => new InflightArea(shape({ mmapOffset: 4 }), larger, LIMITS), misaligned);
  const [near, far] = createSocketPair();
  const noFile = { code: 'BAD_MEMORY', message: /no file/ };
  assert.throws(() => new InflightArea(shape(), near, LIMITS), noFile);
  near.close();
  far.close();
});

test('a ring that is not in it is refused', () => {
  const { fd, description } = createInflightArea(shape(), LIMITS, 'split');
  const area = new InflightArea(description, fd, LIMITS);
  const none = { code: 'BAD_MEMORY', message: /no part for ring 2/ };
  assert.throws(() => area.partOf(2, SIZE, 'split'), none);
  const small = { code: 'BAD_MEMORY', message: /128 descriptors, ring 0 has 256/ };
  assert.throws(() => area.partOf(0, 256, 'split'), small);
  area.close();
  fd.close();
});
