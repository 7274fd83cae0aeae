/**
 * When a write has to be on stable storage: what the cache mode, the negotiated features and the
 * `writeback` field say, seen in the counts that the kernel keeps of pages not yet written.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BlockDriver } from '../../src/testing/index.ts';
import { BlockFeature, ConfigOffset, RequestType, Status } from '../../src/virtio-blk/index.ts';
import { isStableAfter, missingStableCounts, unstablePages } from '../support/page-cache.ts';
import { patternBytes, rangesPayload } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk, type ServedDiskOptions } from '../support/served-disk.ts';

const without = (bit: number): bigint => ~(1n << BigInt(bit));
const WRITTEN_BYTES = 16 * 4096;

async function setWriteback(driver: BlockDriver, value: number): Promise<void> {
  const bytes = Uint8Array.of(value);
  const payload = { offset: ConfigOffset.WRITEBACK, size: 1, flags: 0, bytes };
  await driver.connection.session.request('SET_CONFIG', payload);
}

interface Case {
  readonly what: string;
  readonly args?: readonly string[];
  readonly features?: bigint;
  readonly writeback?: number;
  readonly isStable: boolean;
}

const CASES: readonly Case[] = [
  { what: 'write-back leaves a write in the cache', isStable: false },
  { what: 'writethrough does not', args: ['--cache=writethrough'], isStable: true },
  { what: 'the field switched to write-through does not', writeback: 0, isStable: true },
  {
    what: 'the field switched to write-back does, for a writethrough disk',
    args: ['--cache=writethrough'],
    writeback: 1,
    isStable: false,
  },
  {
    what: 'a driver that cannot flush gets stable writes',
    features: without(BlockFeature.FLUSH),
    isStable: true,
  },
  {
    what: 'a driver that flushes and knows no field gets the cache',
    features: without(BlockFeature.CONFIG_WCE),
    args: ['--cache=writethrough'],
    isStable: false,
  },
];

for (const { engine, skip: noEngine } of SERVER_ENGINES) {
  const skip = noEngine || missingStableCounts();
  suite(`stable writes, ${engine}`, () => {
    for (const { what, args = [], features, writeback, isStable } of CASES) {
      test(what, { skip }, async () => {
        const options: ServedDiskOptions = { engine, args, content: new Uint8Array(1024 * 1024) };
        await using disk = await ServedDisk.start(options);
        const driver = await disk.connect(features === undefined ? {} : { features });
        if (writeback !== undefined) await setWriteback(driver, writeback);
        // Making the image has left pages of it to be written.
        await driver.request({ type: RequestType.FLUSH });
        assert.equal(unstablePages(disk.imagePath), 0);
        const write = async (): Promise<void> => {
          await driver.write(0, patternBytes(WRITTEN_BYTES));
          // Part of a page, too.
          await driver.write(1001, patternBytes(512));
        };
        assert.equal(await isStableAfter(disk.imagePath, write), isStable);
      });
    }

    test('FLUSH makes all that was written stable', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect();
      const write = (): Promise<void> => driver.write(0, patternBytes(WRITTEN_BYTES));
      assert.equal(await isStableAfter(disk.imagePath, write), false, 'pages in the cache');
      const flush = await driver.request({ type: RequestType.FLUSH });
      assert.equal(flush.status, Status.OK);
      assert.equal(unstablePages(disk.imagePath), 0);
    });

    test('zeros are stable like other writes', { skip }, async () => {
      const args = ['--cache=writethrough'];
      await using disk = await ServedDisk.start({ engine, args, content: patternBytes(1 << 20) });
      const driver = await disk.connect();
      await driver.request({ type: RequestType.FLUSH });
      // Not whole pages: the rest of them is zeroed in the cache.
      const data = rangesPayload(
        { sector: 1, sectors: 30 },
        { sector: 103, sectors: 50, flags: 1 },
      );
      const result = await driver.request({ type: RequestType.WRITE_ZEROES, data });
      assert.equal(result.status, Status.OK);
      assert.equal(unstablePages(disk.imagePath), 0);
    });
  });
}
