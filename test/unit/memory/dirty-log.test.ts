/** The log of written pages against a naive model, beyond its end, and from two threads at once. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { DirtyLog, LOG_PAGE_BYTES } from '../../../src/memory/index.ts';
import type { LogMarking } from '../../support/log-marker.ts';
import { propertyOptions } from '../../support/property-options.ts';

const SPACE_END = 2n ** 64n;

function halves(address: bigint): [number, number] {
  return [Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))];
}

/** Pages whose bits are set, as the specification numbers them. */
function markedPages(bits: Uint8Array): bigint[] {
  const pages: bigint[] = [];
  for (let page = 0; page < bits.length * 8; page++) {
    if ((bits[Math.floor(page / 8)] & (1 << (page % 8))) !== 0) pages.push(BigInt(page));
  }
  return pages;
}

/** A written range: near a multiple of a page, a byte of bits, or 4 GiB, or anywhere in 64 bits. */
const ranges = fc.record({
  address: fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(fc.constantFrom(0, 1, 7, 8, 9, 16, 63, 64, 255), fc.integer({ min: -5, max: 5 }))
        .map(([page, distance]) => BigInt(Math.max(0, page * LOG_PAGE_BYTES + distance))),
    },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: SPACE_END - 1n }) },
  ),
  lengthBytes: fc.oneof(
    fc.constantFrom(0, 1, 2, 10, 4095, 4096, 4097, 8 * 4096, 2 ** 31, 2 ** 32 - 1),
    fc.nat(64 * LOG_PAGE_BYTES),
  ),
});

test('the pages that ranges touch are marked, and no others; what lies beyond is counted', () => {
  const sizes = fc.constantFrom(1, 2, 3, 8, 32);
  fc.assert(
    fc.property(sizes, fc.array(ranges, { maxLength: 8 }), (sizeBytes, list) => {
      // Bytes around the log must stay as they are.
      const all = new Uint8Array(sizeBytes + 2);
      const bits = all.subarray(1, sizeBytes + 1);
      const log = new DirtyLog(bits);
      const expected = new Set<bigint>();
      let missed = 0;
      for (const { address, lengthBytes } of list) {
        log.mark(...halves(address), lengthBytes);
        if (lengthBytes === 0) continue;
        const last = (address + BigInt(lengthBytes) - 1n) / 4096n;
        if (last >= BigInt(sizeBytes * 8)) missed += 1;
        const end = last < BigInt(sizeBytes * 8) ? last : BigInt(sizeBytes * 8 - 1);
        for (let page = address / 4096n; page <= end; page++) expected.add(page);
      }
      assert.deepEqual(
        markedPages(bits),
        [...expected].sort((a, b) => Number(a - b)),
      );
      assert.equal(log.missedCount, missed);
      assert.deepEqual([all[0], all[sizeBytes + 1]], [0, 0]);
    }),
    propertyOptions(500),
  );
});

test('pages beyond 2^31 have their bits, too', () => {
  // 256 MiB and a byte: of which two pages are touched.
  const bits = new Uint8Array(2 ** 28 + 1);
  const log = new DirtyLog(bits);
  const address = 2n ** 31n * 4096n;
  log.mark(...halves(address - 1n), 2);
  assert.equal(bits[2 ** 28 - 1], 0x80);
  assert.equal(bits[2 ** 28], 1);
  assert.equal(log.missedCount, 0);
});

test('two threads that mark in one byte lose nothing', async () => {
  const bits = new SharedArrayBuffer(64);
  const rounds = 300_000;
  const workers = [0, 1].map((parity) => {
    const url = new URL('../../support/log-marker.js', import.meta.url);
    const workerData: LogMarking = { bits, parity, rounds };
    return new Worker(url, { workerData });
  });
  const missing = await Promise.all(workers.map((worker) => once(worker, 'message')));
  assert.deepEqual(missing, [[0], [0]]);
});
