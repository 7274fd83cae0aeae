/** The disk whose bytes are their own offsets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  adoptDisk,
  DiskOperation,
  openDisk,
  PatternDisk,
  pattern,
} from '../../../../src/storage/index.ts';
import { Errno, silentLogger } from '../../../../src/sys/index.ts';
import { DiskSession, type Piece } from '../../../support/disk-session.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const SECTOR_BYTES = 512;
/** Largest whose offsets are all safe integers. */
const SIZE_BYTES = 2 ** 52;
const EIO = -Errno.EIO;

/** The definition, as slowly as can be. */
function contentAt(offset: number, bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 8) content.writeBigUInt64BE(BigInt(offset + at), at);
  return content;
}

async function openPattern(): Promise<{ session: DiskSession; disk: PatternDisk }> {
  const disk = await openDisk(pattern(SIZE_BYTES));
  assert.ok(disk instanceof PatternDisk);
  return { session: new DiskSession(disk, 'epoll'), disk };
}

/** Where offsets have something in particular: near powers of two, and anywhere. */
const sectors = fc.oneof(
  fc
    .integer({ min: 0, max: 43 })
    .chain((power) =>
      fc.integer({ min: -3, max: 3 }).map((by) => Math.max(0, 2 ** power - 64 + by)),
    ),
  fc.nat(SIZE_BYTES / SECTOR_BYTES - 200),
);

test('each 8 bytes are their offset, in whatever pieces of memory they are read', async () => {
  const { session } = await openPattern();
  const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 5 });
  fc.assert(
    fc.property(sectors, fc.integer({ min: 1, max: 100 }), cuts, (sector, count, lengths) => {
      const bytes = count * SECTOR_BYTES;
      const pieces: Piece[] = [];
      let at = 3;
      for (let left = bytes, index = 0; left > 0; index++) {
        const length = Math.min(left, lengths[index] ?? left);
        pieces.push({ at, bytes: length });
        at += length + 5;
        left -= length;
      }
      session.memory.fill(0xee, 0, at);
      const offset = sector * SECTOR_BYTES;
      assert.equal(session.run({ operation: DiskOperation.READ, offset, pieces }), 0);
      const found = pieces.map((piece) =>
        session.memory.subarray(piece.at, piece.at + piece.bytes),
      );
      assert.ok(Buffer.concat(found).equals(contentAt(offset, bytes)));
      for (const piece of pieces) assert.equal(session.memory[piece.at + piece.bytes], 0xee);
    }),
    propertyOptions(300),
  );
  session[Symbol.dispose]();
});

test('the pattern can be written, and nothing else', async () => {
  const { session, disk } = await openPattern();
  const flips = fc.option(fc.record({ at: fc.nat(), bit: fc.nat(7) }), { freq: 2 });
  let wrong = 0;
  fc.assert(
    fc.property(sectors, fc.integer({ min: 1, max: 100 }), flips, (sector, count, flip) => {
      const data = contentAt(sector * SECTOR_BYTES, count * SECTOR_BYTES);
      if (flip !== null) data[flip.at % data.length] ^= 1 << flip.bit;
      assert.equal(session.write(sector * SECTOR_BYTES, data), flip === null ? 0 : EIO);
      if (flip !== null) wrong += 1;
      assert.equal(disk.wrongWrites.count, wrong);
    }),
    propertyOptions(300),
  );
  assert.ok(wrong > 0);
  assert.equal(session.flush(), 0);
  session[Symbol.dispose]();
});

test('wrong writes of all threads are counted, and said in the end', async () => {
  const disk = await openDisk(pattern(SIZE_BYTES));
  const warnings: string[] = [];
  disk.useLogger?.({ ...silentLogger, warn: (text: string) => warnings.push(text) });
  {
    using session = new DiskSession(adoptDisk(structuredClone(disk.share())), 'epoll');
    assert.equal(session.write(2 ** 40, Buffer.alloc(512)), EIO);
    assert.equal(session.write(0, Buffer.alloc(1024)), EIO);
  }
  assert.deepEqual(warnings, []);
  await disk.close();
  assert.deepEqual(warnings, [
    `pattern: 2 writes were not the pattern, the first at offset ${2 ** 40}`,
  ]);
});

test('there is nothing to discard or to zero', async () => {
  const { session, disk } = await openPattern();
  assert.deepEqual([disk.info.canDiscard, disk.info.canWriteZeroes], [false, false]);
  assert.equal(session.discard(0, 512), -Errno.EOPNOTSUPP);
  assert.equal(session.writeZeroes(0, 512), -Errno.EOPNOTSUPP);
  session[Symbol.dispose]();
});
