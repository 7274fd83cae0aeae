/**
 * Direct I/O: blocks that a range to be zeroed covers in part are written by the disk, under its
 * lock. The file system would do it, too, and come between the reading and the writing back of such
 * a block for another request, which undoes it.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiskFlag } from '../../../src/storage/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { type FileOperation, openWatchedFile } from '../../support/watched-file.ts';

const BLOCK_BYTES = 4096;
const SECTOR_BYTES = 512;
const DISK_BYTES = 16 * BLOCK_BYTES;
/** Sectors: whole blocks, edges at one end or both, parts of one block or of two. */
const RANGES = [
  [8, 16],
  [9, 1],
  [9, 7],
  [8, 3],
  [12, 8],
  [12, 20],
  [12, 32],
  [8, 20],
] as const;

for (const { engine, skip } of ENGINES) {
  for (const flags of [0, DiskFlag.UNMAP]) {
    const how = flags === 0 ? 'kept' : 'given back';
    test(`${engine}: only whole blocks are left to the file system, ${how}`, { skip }, (t) => {
      const path = join(imageFolder(t), 'image');
      for (const [sector, sectors] of RANGES) {
        const expected = Buffer.alloc(DISK_BYTES, 'x');
        writeFileSync(path, expected);
        const zeroed: FileOperation[] = [];
        const observer = {
          onStart: (operation: FileOperation) => {
            if (operation.kind === 'zero') zeroed.push(operation);
            return undefined;
          },
          onEnd: () => {},
        };
        const direct = { direct: { memoryBytes: SECTOR_BYTES, offsetBytes: BLOCK_BYTES } };
        const disk = openWatchedFile({ path, cache: 'none' }, observer, (handle) => ({
          ...handle,
          ...direct,
        }));
        {
          using session = new DiskSession(disk, engine);
          const [start, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
          assert.equal(session.writeZeroes(start, length, flags), 0);
          expected.fill(0, start, start + length);
        }
        for (const { offset, bytes } of zeroed) {
          assert.deepEqual([offset % BLOCK_BYTES, bytes % BLOCK_BYTES], [0, 0], `${sector}`);
        }
        assert.ok(readFileSync(path).equals(expected), `${sectors} sectors from ${sector}`);
      }
    });
  }
}
