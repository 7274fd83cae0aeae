/** Memory that is shared with a back-end which is not trusted. */
import assert from 'node:assert/strict';
import { ftruncateSync } from 'node:fs';
import { test } from 'node:test';
import { MemoryRegion } from '../../../src/blkio/index.ts';

test('who is sent a region cannot take its pages away', () => {
  using region = MemoryRegion.allocate(8192);
  const bytes = region.view(0, 8192);
  for (const sizeBytes of [0, 4096, 65536]) {
    assert.throws(() => ftruncateSync(region.file.number, sizeBytes), { code: 'EPERM' });
  }
  bytes.fill(7);
  assert.equal(bytes[8191], 7);
});
