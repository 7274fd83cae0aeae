/** Four queues at once, on one thread and on two: random requests against a model of the disk. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { EngineName } from '../../src/sys/index.ts';
import type { BlockDriver } from '../../src/testing/index.ts';
import { RequestType, SECTOR_BYTES, Status } from '../../src/virtio-blk/index.ts';
import { missingDirectIo } from '../support/page-cache.ts';
import { propertyOptions } from '../support/property-options.ts';
import { assertSameBytes, patternBytes, rangesPayload } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const QUEUES = 4;
/** Each lane does one request at a time, in sectors of its own; all lanes are busy at once. */
const LANES_PER_QUEUE = 6;
const LANE_SECTORS = 512;
const LANES = QUEUES * LANES_PER_QUEUE;
const DISK_BYTES = LANES * LANE_SECTORS * SECTOR_BYTES;

type LaneKind = 'read' | 'write' | 'zero' | 'unmap' | 'discard' | 'flush';

interface LaneRequest {
  readonly kind: LaneKind;
  /** Within the lane. */
  readonly sector: number;
  readonly sectors: number;
  readonly seed: number;
}

const laneRequest: fc.Arbitrary<LaneRequest> = fc
  .record({
    kind: fc.constantFrom<LaneKind>('read', 'write', 'write', 'zero', 'unmap', 'discard', 'flush'),
    sector: fc.oneof(
      fc.nat(LANE_SECTORS - 1),
      fc.nat(LANE_SECTORS / 8 - 1).map((page) => page * 8),
    ),
    sectors: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(8, 16, 256)),
    seed: fc.nat(1_000_000),
  })
  .map(({ sectors, ...rest }) => ({
    ...rest,
    sectors: Math.min(sectors, LANE_SECTORS - rest.sector),
  }));

/** What a run does: for each lane its requests, in order. */
const plan = fc.array(fc.array(laneRequest, { maxLength: 12 }), {
  minLength: LANES,
  maxLength: LANES,
});

/** One lane's requests, with the model of its part of the disk. */
async function runLane(
  driver: BlockDriver,
  lane: number,
  requests: readonly LaneRequest[],
  model: Uint8Array,
): Promise<void> {
  const queue = lane % QUEUES;
  for (const { kind, sector, sectors, seed } of requests) {
    const first = lane * LANE_SECTORS + sector;
    const start = first * SECTOR_BYTES;
    const end = start + sectors * SECTOR_BYTES;
    const ranges = (flags: number): Uint8Array => rangesPayload({ sector: first, sectors, flags });
    const change = async (type: number, data: Uint8Array): Promise<void> => {
      const result = await driver.request({ type, sector: 0, data }, queue);
      assert.equal(result.status, Status.OK, `${kind} of ${sectors} at ${first}`);
    };
    if (kind === 'write') {
      const data = patternBytes(sectors * SECTOR_BYTES, seed);
      await driver.write(first, data, queue);
      model.set(data, start);
    } else if (kind === 'flush') {
      await change(RequestType.FLUSH, new Uint8Array(0));
    } else if (kind === 'zero' || kind === 'unmap') {
      await change(RequestType.WRITE_ZEROES, ranges(kind === 'unmap' ? 1 : 0));
      model.fill(0, start, end);
    } else if (kind === 'discard') {
      await change(RequestType.DISCARD, ranges(0));
      model.set(await readDiscarded(driver, first, sectors, queue, model), start);
    }
    const back = await driver.read(first, sectors, queue);
    assertSameBytes(back, model.subarray(start, end), `${kind} of ${sectors} at ${first}`);
  }
}

/** A discarded sector may be what it was, or zeros. */
async function readDiscarded(
  driver: BlockDriver,
  first: number,
  sectors: number,
  queue: number,
  model: Uint8Array,
): Promise<Uint8Array> {
  const data = await driver.read(first, sectors, queue);
  for (let at = 0; at < data.length; at += SECTOR_BYTES) {
    const piece = data.subarray(at, at + SECTOR_BYTES);
    if (piece.every((byte) => byte === 0)) continue;
    const start = first * SECTOR_BYTES + at;
    assertSameBytes(piece, model.subarray(start, start + SECTOR_BYTES), 'after a discard');
  }
  return data;
}

async function compareWithModel(
  engine: EngineName,
  args: readonly string[],
  packed = false,
): Promise<void> {
  const content = patternBytes(DISK_BYTES, 77);
  await using disk = await ServedDisk.start({ engine, content, args });
  const driver = await disk.connect({ numQueues: QUEUES, queueSize: packed ? 60 : 64, packed });
  const property = fc.asyncProperty(plan, async (lanes) => {
    const model = disk.readImage().slice();
    await Promise.all(lanes.map((requests, lane) => runLane(driver, lane, requests, model)));
    assertSameBytes(disk.readImage(), model, 'image');
  });
  await fc.assert(property, propertyOptions(12));
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`four queues, ${engine}`, () => {
    for (const threads of [1, 2]) {
      test(`agree with a model on ${threads} threads`, { skip }, async () => {
        await compareWithModel(engine, [`--threads=${threads}`]);
      });

      const missing = skip || missingDirectIo();
      test(`agree with a model on ${threads} threads, direct I/O`, { skip: missing }, async () => {
        // Where direct I/O has larger blocks, smaller requests go another way: wanted here.
        const args = ['--cache=none', '--block-size=512', `--threads=${threads}`];
        await compareWithModel(engine, args);
      });
    }

    test('agree with a model on 2 threads, packed rings', { skip }, async () => {
      await compareWithModel(engine, ['--threads=2'], true);
    });

    test('queues are served though others are not used', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--threads=2'] });
      const driver = await disk.connect({ numQueues: QUEUES });
      assert.equal(driver.connection.maxQueues, 8, 'the default number');
      const data = patternBytes(4096);
      await driver.write(16, data, 3);
      assertSameBytes(await driver.read(16, 8, 0), data, 'read through another queue');
    });
  });
}
