/** Which features are offered, and what the negotiated ones mean for a volatile cache. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiskInfo } from '../../../src/storage/index.ts';
import { cachePolicy } from '../../../src/virtio-blk/features.ts';
import { featureSet, hasFeature, offeredFeatures } from '../../../src/virtio-blk/index.ts';
import { NULL_DISK } from '../../support/served-queue.ts';

/** Bit numbers as in the specification. */
const RO = 5;
const FLUSH = 9;
const CONFIG_WCE = 11;
const DISCARD = 13;
const WRITE_ZEROES = 14;
/** SIZE_MAX, SEG_MAX, BLK_SIZE, TOPOLOGY, MQ, those of rings, VERSION_1, and a cache. */
const ALWAYS = [1, 2, 6, FLUSH, 10, CONFIG_WCE, 12, 28, 29, 32, 34];

function bitsOf(info: Partial<DiskInfo>): number[] {
  const features = offeredFeatures({ ...NULL_DISK, ...info });
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => hasFeature(features, bit));
}

test('a disk that can do everything offers discard and zeroing', () => {
  assert.deepEqual(
    bitsOf({}),
    [...ALWAYS, DISCARD, WRITE_ZEROES].sort((a, b) => a - b),
  );
});

test('each ability is offered by itself', () => {
  assert.ok(!bitsOf({ canDiscard: false }).includes(DISCARD));
  assert.ok(bitsOf({ canDiscard: false }).includes(WRITE_ZEROES));
  assert.ok(!bitsOf({ canWriteZeroes: false }).includes(WRITE_ZEROES));
  assert.ok(bitsOf({ canWriteZeroes: false }).includes(DISCARD));
});

test('a read-only disk says so', () => {
  const info = { readOnly: true, canDiscard: false, canWriteZeroes: false };
  assert.deepEqual(
    bitsOf(info),
    [...ALWAYS, RO].sort((a, b) => a - b),
  );
});

test('who offers CONFIG_WCE offers FLUSH, whatever the disk', () => {
  for (const writeBack of [false, true]) {
    for (const readOnly of [false, true]) {
      const bits = bitsOf({ writeBack, readOnly });
      assert.ok(!bits.includes(CONFIG_WCE) || bits.includes(FLUSH));
    }
  }
});

test('only a driver that can flush gets a cache, and with CONFIG_WCE it decides', () => {
  assert.equal(cachePolicy(0n), 'never');
  assert.equal(cachePolicy(featureSet(CONFIG_WCE)), 'never');
  assert.equal(cachePolicy(featureSet(FLUSH)), 'always');
  assert.equal(cachePolicy(featureSet(FLUSH, CONFIG_WCE)), 'as-field-says');
});

test('sets of features hold every bit up to 63', () => {
  assert.equal(featureSet(), 0n);
  assert.equal(featureSet(0, 32, 63), 0x8000_0001_0000_0001n);
  assert.equal(hasFeature(0x8000_0001_0000_0001n, 63), true);
  assert.equal(hasFeature(0x8000_0001_0000_0001n, 31), false);
});
