/**
 * What a ring writes to its used part is in the log: after random steps of both sides, every byte
 * that has changed lies in a marked page.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DirtyLog } from '../../../src/memory/index.ts';
import { propertyOptions } from '../../support/property-options.ts';
import { RingPair } from '../../support/ring-pair.ts';

const PAGE = 4096;
/** A ring whose used part takes three pages. */
const SIZE = 1024;
const LOG_BYTES = 4;

const step = fc.constantFrom('publish', 'suppress', 'request', 'both');

function isMarked(bits: Uint8Array, address: number): boolean {
  const page = Math.floor(address / PAGE);
  return (bits[Math.floor(page / 8)] & (1 << (page % 8))) !== 0;
}

/** Change the used ring in one way. */
function apply(pair: RingPair, kind: string, count: number): void {
  const { driver, device } = pair;
  if (kind === 'suppress') device.suppressKicks();
  if (kind === 'request') device.requestKicks();
  if (kind !== 'publish' && kind !== 'both') return;
  for (let done = 0; done < count; done++) {
    driver.begin(1);
    driver.add(0, 0, 1, true);
    driver.commit();
    driver.publish();
    // A length that differs from what the entry held a round of the ring ago.
    device.pushUsed(pair.take(), 1000 + device.base);
  }
  device.publish();
  for (let done = 0; done < count; done++) driver.takeUsed();
  if (kind === 'both') device.requestKicks();
}

const steps = fc.array(fc.tuple(step, fc.constantFrom(1, 2, 300, 600, 1000)), {
  minLength: 1,
  maxLength: 8,
});

for (const eventIdx of [false, true]) {
  test(`all writes to the used ring are logged, EVENT_IDX ${eventIdx ? 'on' : 'off'}`, () => {
    let unmarked = 0;
    fc.assert(
      fc.property(steps, fc.nat(3 * PAGE), (list, address) => {
        const pair = new RingPair({ size: SIZE, eventIdx, indirect: false });
        const used = new Uint8Array(pair.memory.used);
        const bits = new Uint8Array(LOG_BYTES);
        pair.device.setDirtyLog(new DirtyLog(bits), address);
        for (const [kind, count] of list) {
          const before = used.slice();
          bits.fill(0);
          apply(pair, kind, count);
          const changed = [...used.keys()].filter((at) => used[at] !== before[at]);
          assert.ok(changed.every((at) => isMarked(bits, address + at)));
          const pages = new Set([...used.keys()].map((at) => Math.floor((address + at) / PAGE)));
          for (const page of pages) if (!isMarked(bits, page * PAGE)) unmarked += 1;
        }
      }),
      propertyOptions(150),
    );
    assert.ok(unmarked > 0, 'not all pages are marked each time');
  });
}

test('a ring whose log has ended writes on and marks no more', () => {
  const pair = new RingPair({ size: SIZE, eventIdx: false, indirect: false });
  const bits = new Uint8Array(LOG_BYTES);
  pair.device.setDirtyLog(new DirtyLog(bits), 0);
  pair.device.setDirtyLog(undefined, 0);
  apply(pair, 'both', 5);
  assert.deepEqual(bits, new Uint8Array(LOG_BYTES));
});

test('a ring that is logged beyond the log only counts', () => {
  const pair = new RingPair({ size: SIZE, eventIdx: false, indirect: false });
  const bits = new Uint8Array(LOG_BYTES);
  const log = new DirtyLog(bits);
  pair.device.setDirtyLog(log, 2 ** 52);
  apply(pair, 'publish', 1);
  assert.deepEqual(bits, new Uint8Array(LOG_BYTES));
  assert.equal(log.missedCount, 2);
});
