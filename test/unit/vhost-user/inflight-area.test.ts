/** In-flight memory as front-ends ask for it and send it: what fits is mapped, the rest refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemfd, createSocketPair, Mapping } from '../../../src/sys/index.ts';
import {
  createInflightArea,
  InflightArea,
  type InflightDescription,
} from '../../../src/vhost-user/inflight-area.ts';
import { inflightLogBytes } from '../../../src/virtqueue/index.ts';

const LIMITS = { numQueues: 4, maxQueueSize: 256 };
const SIZE = 128;
const PART_BYTES = inflightLogBytes(SIZE);

function shape(change: Partial<InflightDescription> = {}): InflightDescription {
  const whole = { mmapSize: 2 * PART_BYTES, mmapOffset: 0, numQueues: 2, queueSize: SIZE };
  return { ...whole, padding: 0, ...change };
}

test('memory that was asked for is zeroed, keeps its size, and is taken back', () => {
  const { fd, description } = createInflightArea(shape({ mmapSize: 0 }), LIMITS);
  assert.deepEqual(description, shape());
  const area = new InflightArea(description, fd, LIMITS);
  const part = area.partOf(1, SIZE);
  assert.deepEqual([part.offsetBytes, part.queueSize], [PART_BYTES, SIZE]);
  const mapping = Mapping.adopt(part.mapping);
  assert.ok(new Uint8Array(mapping.view(0, mapping.sizeBytes)).every((byte) => byte === 0));
  mapping.close();
  area.close();
  fd.close();
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
    assert.throws(() => createInflightArea(shape(change), LIMITS), expected);
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
  const { fd, description } = createInflightArea(shape(), LIMITS);
  const area = new InflightArea(description, fd, LIMITS);
  const none = { code: 'BAD_MEMORY', message: /no part for ring 2/ };
  assert.throws(() => area.partOf(2, SIZE), none);
  const small = { code: 'BAD_MEMORY', message: /128 descriptors, ring 0 has 256/ };
  assert.throws(() => area.partOf(0, 256), small);
  area.close();
  fd.close();
});
