/** What can be wrong with DISCARD and WRITE_ZEROES, and the status of each mistake. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  BlockFeature,
  featureSet,
  Limit,
  RequestType,
  Status,
} from '../../../src/virtio-blk/index.ts';
import { START_DISK } from '../../../src/virtio-blk/request-parser.ts';
import type { RangeFields } from '../../support/block-chains.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { VerdictBench } from '../../support/verdict-bench.ts';

const { DISCARD, WRITE_ZEROES } = RequestType;
const bench = new VerdictBench();
const CAPACITY = bench.capacitySectors;
after(() => bench[Symbol.dispose]());

const types = [DISCARD, WRITE_ZEROES];
const good: RangeFields = { sector: 8, sectors: 8 };

test('requests not negotiated get UNSUPP, each by its own feature', () => {
  for (const [type, bit] of [
    [DISCARD, BlockFeature.DISCARD],
    [WRITE_ZEROES, BlockFeature.WRITE_ZEROES],
  ]) {
    using without = new VerdictBench({ features: ALL_FEATURES & ~featureSet(bit) });
    const other = type === DISCARD ? WRITE_ZEROES : DISCARD;
    assert.equal(without.rangeVerdict(type, [good]), Status.UNSUPP);
    assert.equal(without.rangeVerdict(other, [good]), START_DISK);
  }
});

test('a reserved flag in any range gets UNSUPP, unmap too in a DISCARD', () => {
  for (const flags of [2, 4, 0x8000_0000, 3]) {
    for (const type of types) {
      assert.equal(bench.rangeVerdict(type, [good, { ...good, flags }]), Status.UNSUPP);
    }
  }
  assert.equal(bench.rangeVerdict(DISCARD, [{ ...good, flags: 1 }]), Status.UNSUPP);
  assert.equal(bench.rangeVerdict(WRITE_ZEROES, [{ ...good, flags: 1 }]), START_DISK);
});

test('a payload that is empty, no whole number of ranges, or more than 16 gets IOERR', () => {
  for (const type of types) {
    for (const bytes of [0, 1, 15, 17, 40, 17 * 16]) {
      assert.equal(bench.verdict(type, 0, bytes), Status.IOERR, `${bytes} bytes`);
    }
    assert.equal(bench.rangeVerdict(type, new Array<RangeFields>(16).fill(good)), START_DISK);
  }
});

test('a range that ends beyond the disk, in any position, gets IOERR', () => {
  for (const type of types) {
    const bad: RangeFields[] = [
      { sector: CAPACITY - 7, sectors: 8 },
      { sector: CAPACITY, sectors: 1 },
      { sector: 2n ** 64n - 1n, sectors: 1 },
      { sector: 2n ** 64n - 8n, sectors: 16 },
      { sector: 2n ** 53n, sectors: 1 },
    ];
    for (const range of bad) {
      assert.equal(bench.rangeVerdict(type, [range]), Status.IOERR);
      assert.equal(bench.rangeVerdict(type, [good, good, range]), Status.IOERR);
    }
    assert.equal(bench.rangeVerdict(type, [{ sector: CAPACITY - 8, sectors: 8 }]), START_DISK);
  }
});

test('a range longer than the limit gets IOERR', () => {
  for (const type of types) {
    assert.equal(
      bench.rangeVerdict(type, [{ sector: 0, sectors: Limit.RANGE_SECTORS }]),
      START_DISK,
    );
    const longer = { sector: 0, sectors: Limit.RANGE_SECTORS + 1 };
    assert.equal(bench.rangeVerdict(type, [longer]), Status.IOERR);
    assert.equal(bench.rangeVerdict(type, [{ sector: 0, sectors: 0xffff_ffff }]), Status.IOERR);
  }
});

test('a range that is no whole number of blocks gets IOERR', () => {
  using large = new VerdictBench({ logicalBlockBytes: 4096 });
  for (const type of types) {
    assert.equal(large.rangeVerdict(type, [{ sector: 8, sectors: 8 }]), START_DISK);
    assert.equal(large.rangeVerdict(type, [{ sector: 7, sectors: 8 }]), Status.IOERR);
    assert.equal(large.rangeVerdict(type, [{ sector: 8, sectors: 9 }]), Status.IOERR);
  }
});
