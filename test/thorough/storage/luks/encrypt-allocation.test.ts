/** What requests of encrypted disks leave to the garbage collector. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { EncryptAllocation } from '../../../support/encrypt-allocation-probe.ts';
import { HEAP_OPTIONS } from '../../../support/heap-growth.ts';

const PROGRAM = fileURLToPath(
  new URL('../../../support/encrypt-allocation-probe.js', import.meta.url),
);

/**
 * An address has more bits than a small integer: to be passed to a function it is boxed, a number of
 * 16 bytes. A sector has two, where it is and where it goes; a request has that of the guest's
 * memory once more, and a few numbers where the compiler does not see that it could do without.
 */
const BOXED_FOR_A_SECTOR = 32;
const BOXED_FOR_A_REQUEST = 72;

test('sectors box their addresses and allocate nothing else', () => {
  const output = execFileSync(process.execPath, [...HEAP_OPTIONS, PROGRAM], { encoding: 'utf8' });
  const results = JSON.parse(output) as Record<string, EncryptAllocation>;
  for (const [sectorBytes, { reads, writes }] of Object.entries(results)) {
    const limit = (4096 / Number(sectorBytes)) * BOXED_FOR_A_SECTOR + BOXED_FOR_A_REQUEST;
    assert.ok(reads < limit, `${reads} bytes a read, sectors of ${sectorBytes}`);
    assert.ok(writes < limit, `${writes} bytes a write, sectors of ${sectorBytes}`);
  }
});
