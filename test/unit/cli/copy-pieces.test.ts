/** How a copy is cut into pieces, and what sparse files say of themselves. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { piecesOf } from '../../../src/cli/copy/copy-pieces.ts';
import { type DataRange, dataRanges, Open, openFile } from '../../../src/sys/index.ts';
import { propertyOptions } from '../../support/property-options.ts';
import { patternBytes } from '../../support/request-bytes.ts';
import { writeFileAt } from '../../support/served-disk.ts';

const MIB = 1024 * 1024;

/** Ranges in order, which do not touch, of a file of some size. */
const sparseFiles = fc
  .uniqueArray(fc.nat(100_000), { minLength: 1, maxLength: 20 })
  .map((points) => {
    const sorted = points.toSorted((one, other) => one - other);
    const ranges: DataRange[] = [];
    for (let at = 0; at + 1 < sorted.length; at += 2) {
      ranges.push({ start: sorted[at], end: sorted[at + 1] });
    }
    return { ranges, sizeBytes: (sorted.at(-1) ?? 0) + 1 };
  });

test('pieces follow each other without gaps, and no data is taken for a hole', () => {
  const alignments = fc.constantFrom(1, 512, 4096);
  fc.assert(
    fc.property(sparseFiles, alignments, fc.integer({ min: 1, max: 5 }), (file, alignment, n) => {
      const cut = { sizeBytes: file.sizeBytes, alignment, dataBytes: n * alignment };
      const pieces = [...piecesOf(file.ranges, { ...cut, holeBytes: 3 * alignment })];
      let at = 0;
      for (const { start, end } of pieces) {
        assert.equal(start, at);
        assert.equal(start % alignment, 0);
        assert(end > start && end - start <= Math.max(n, 3) * alignment);
        at = end;
      }
      assert.equal(at, file.sizeBytes);
      const holes = pieces.filter(({ isHole }) => isHole);
      for (const range of file.ranges) {
        assert(!holes.some((hole) => hole.start < range.end && range.start < hole.end));
      }
    }),
    propertyOptions(100),
  );
});

test('the data of a sparse file is found, at its end, too', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vhostkit-ranges-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'file');
  writeFileSync(path, '');
  truncateSync(path, 8 * MIB + 100);
  writeFileAt(path, 2 * MIB, patternBytes(MIB));
  writeFileAt(path, 8 * MIB, patternBytes(100));
  const file = openFile(path, Open.RDONLY);
  t.after(() => file.close());
  assert.deepEqual(
    [...dataRanges(file, 8 * MIB + 100)],
    [
      { start: 2 * MIB, end: 3 * MIB },
      { start: 8 * MIB, end: 8 * MIB + 100 },
    ],
  );
  truncateSync(path, 0);
  truncateSync(path, MIB);
  assert.deepEqual([...dataRanges(file, MIB)], []);
});
