/**
 * The same requests to vhostkit and to qemu-storage-daemon, each on its own copy of one image: both
 * have to answer alike and leave the same bytes.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { BlockDriver, BlockRequest, BlockResult } from '../../src/testing/index.ts';
import { RANGE_UNMAP, RequestType, SECTOR_BYTES, Status } from '../../src/virtio-blk/index.ts';
import { propertyOptions } from '../support/property-options.ts';
import { assertSameBytes, patternBytes, rangesPayload } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';
import { ServedPeer } from '../support/served-peer.ts';
import { storageDaemonRequirements } from '../support/storage-daemon.ts';

const SECTORS = 2048;
const { IN, OUT, FLUSH, DISCARD, WRITE_ZEROES } = RequestType;
const noDaemon = storageDaemonRequirements() ?? false;

/** Something to do on both. */
interface Step {
  readonly name: string;
  readonly request: BlockRequest;
}

const place = fc.record({
  sector: fc.nat(SECTORS - 1),
  sectors: fc.integer({ min: 1, max: 64 }),
  seed: fc.nat(1000),
});

/** Requests within the disk and beyond its end, with whole sectors. */
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: place.map(({ sector, sectors, seed }) => writeStep(sector, sectors, seed)),
  },
  {
    weight: 3,
    arbitrary: place.map(({ sector, sectors }) => ({
      name: `read ${sector}+${sectors}`,
      request: { type: IN, sector, room: sectors * SECTOR_BYTES },
    })),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(place, fc.boolean()).map(([{ sector, sectors }, isUnmap]) => {
      const flags = isUnmap ? RANGE_UNMAP : 0;
      const data = rangesPayload({ sector, sectors, flags });
      return { name: `zero ${sector}+${sectors}`, request: { type: WRITE_ZEROES, data } };
    }),
  },
  place.map(({ sector, sectors }) => ({
    name: `discard ${sector}+${sectors}`,
    request: { type: DISCARD, data: rangesPayload({ sector, sectors }) },
  })),
  fc.constant({ name: 'flush', request: { type: FLUSH } }),
  fc.integer({ min: 14, max: 2 ** 31 - 1 }).map((type) => ({
    name: `request of type ${type}`,
    request: { type, room: 512 },
  })),
);

function writeStep(sector: number, sectors: number, seed: number): Step {
  const data = patternBytes(sectors * SECTOR_BYTES, seed);
  return { name: `write ${sector}+${sectors}`, request: { type: OUT, sector, data } };
}

/** Both answers have to be the same, but for what a failed request may leave in its buffer. */
function assertSameResult(ours: BlockResult, theirs: BlockResult, name: string): void {
  assert.equal(ours.status, theirs.status, `${name}: status`);
  if (ours.status !== Status.OK) return;
  assert.equal(ours.usedLength, theirs.usedLength, `${name}: used length`);
  assertSameBytes(ours.data, theirs.data, name);
}

async function compare(steps: readonly Step[], ours: BlockDriver, theirs: BlockDriver) {
  for (const { name, request } of steps) {
    const [mine, peers] = await Promise.all([ours.request(request), theirs.request(request)]);
    assertSameResult(mine, peers, name);
  }
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`vhostkit beside qemu-storage-daemon, ${engine}`, () => {
    test('random requests have the same answers and effects', {
      skip: noDaemon || skip,
    }, async () => {
      await using disk = await ServedDisk.start({ engine, content: patternBytes(SECTORS * 512) });
      await using peer = await ServedPeer.start({ content: patternBytes(SECTORS * 512) });
      const ours = await disk.connect();
      const theirs = await peer.connect();
      const steps = fc.array(step, { minLength: 1, maxLength: 40, size: 'max' });
      await fc.assert(
        fc.asyncProperty(steps, (each) => compare(each, ours, theirs)),
        { ...propertyOptions(50), endOnFailure: true },
      );
      await theirs.request({ type: FLUSH });
      assertSameBytes(disk.readImage(), peer.readImage(), 'image');
    });

    test('both read what the other wrote', { skip: noDaemon || skip }, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'interop-'));
      const imagePath = join(folder, 'image');
      writeFileSync(imagePath, new Uint8Array(SECTORS * 512));
      try {
        const expected = new Uint8Array(SECTORS * 512);
        for (let round = 0; round < 4; round++) {
          // One after the other: both lock the image.
          await using server =
            round % 2 === 0
              ? await ServedDisk.start({ engine, args: [`--blk-file=${imagePath}`] })
              : await ServedPeer.start({ imagePath });
          const driver = await server.connect();
          assertSameBytes(await driver.read(0, 256), expected.subarray(0, 256 * 512), 'read');
          const data = patternBytes(64 * 512, round + 1);
          await driver.write(round * 64, data);
          expected.set(data, round * 64 * 512);
          driver.close();
        }
        assertSameBytes(readFileSync(imagePath), expected, 'image');
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
}
