/** The corners of the guest's address space: the end of 64 bits, large regions, no memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestMemory, type MemoryRegion } from '../../../src/memory/index.ts';
import { createMemfd, MAX_VIEW_BYTES, Mapping } from '../../../src/sys/index.ts';

const GIB = 2 ** 30;

function region(guestAddress: number, mapping: Mapping, userAddress = 2 ** 45): MemoryRegion {
  return { guestAddress, userAddress, sizeBytes: mapping.sizeBytes, mapping };
}

/** Addresses in halves, as a descriptor has them. */
function halves(address: number): [number, number] {
  return [address | 0, Math.floor(address / 2 ** 32) | 0];
}

test('ranges that run over the end of 64 bits are nowhere', () => {
  using mapping = Mapping.anonymous(65536);
  const memory = new GuestMemory([region(0, mapping)]);
  // -1: the last address there is. Wrapped around, the range would go on at 0, in the region.
  for (const [low, high] of [
    [-1, -1],
    [-4096, -1],
    [0, -1],
    [0, -(2 ** 31)],
  ]) {
    assert.equal(memory.locate(low, high, 8192), 0);
    assert.equal(memory.access(low, high, 8192), undefined);
    assert.equal(memory.copyFrom(low, high, new Uint8Array(8192)), false);
  }
});

test('a length of 32 bits does not overflow at the end of a region', () => {
  using mapping = Mapping.anonymous(8192);
  const memory = new GuestMemory([region(4 * GIB - 4096, mapping)]);
  assert.equal(memory.locate(...halves(4 * GIB - 1), 0xffffffff), 4097);
  assert.equal(memory.access(...halves(4 * GIB - 1), 0xffffffff), undefined);
});

test('a length of 0 finds nothing, and copies nothing successfully', () => {
  using mapping = Mapping.anonymous(4096);
  const memory = new GuestMemory([region(0, mapping)]);
  assert.equal(memory.locate(0, 0, 0), 0);
  assert.ok(memory.copyFrom(0, 0, new Uint8Array(0)));
});

test('without regions there is no memory', () => {
  const memory = new GuestMemory([]);
  assert.equal(memory.locate(0, 0, 1), 0);
  assert.equal(memory.access(0, 0, 1), undefined);
  assert.equal(memory.viewUser(0, 1), undefined);
  assert.equal(memory.copyTo(0, 0, new Uint8Array(1)), false);
});

test('a region of more than 4 GiB is reached at both ends and where views meet', () => {
  using file = createMemfd('large', 6 * GIB);
  using mapping = Mapping.ofFile(file.number, 0, 6 * GIB);
  const start = 4 * GIB + 4096;
  const memory = new GuestMemory([region(start, mapping)]);
  for (const offset of [0, MAX_VIEW_BYTES - 8, 4 * GIB - 8, 4 * GIB, 6 * GIB - 8]) {
    const view = memory.access(...halves(start + offset), 8);
    assert.ok(view !== undefined, `offset ${offset}`);
    view.setFloat64(memory.viewOffset, offset + 0.5);
  }
  for (const offset of [0, MAX_VIEW_BYTES - 8, 4 * GIB - 8, 4 * GIB, 6 * GIB - 8]) {
    assert.equal(new DataView(mapping.view(offset, 8)).getFloat64(0), offset + 0.5);
    assert.equal(memory.locate(...halves(start + offset), 8), 8);
    const host = (memory.hostHigh >>> 0) * 2 ** 32 + (memory.hostLow >>> 0);
    assert.equal(host, mapping.address + offset);
  }
  // Where two views meet there is no view of both sides, but copies work.
  const meeting = halves(start + MAX_VIEW_BYTES - 4);
  assert.equal(memory.access(...meeting, 8), undefined);
  assert.ok(memory.copyTo(...meeting, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)));
  assert.deepEqual(
    [...new Uint8Array(mapping.view(MAX_VIEW_BYTES - 4, 8))],
    [1, 2, 3, 4, 5, 6, 7, 8],
  );
  assert.equal(memory.locate(...meeting, 8), 8, 'for the kernel it is in one piece');
});

test('rings are found by the address of the front-end, within one region', () => {
  using low = Mapping.anonymous(8192);
  using high = Mapping.anonymous(8192);
  // Adjacent for the front-end, apart for the guest.
  const user = 0x7f00_0000_0000;
  const memory = new GuestMemory([region(0, low, user), region(GIB, high, user + 8192)]);
  new Uint8Array(high.view(16, 1))[0] = 5;
  const ring = memory.viewUser(user + 8192 + 16, 100);
  assert.equal(ring?.byteLength, 100);
  assert.equal(new Uint8Array(ring)[0], 5);
  assert.equal(memory.viewUser(user, 8192)?.byteLength, 8192);
  assert.equal(memory.viewUser(user + 8000, 400), undefined, 'across two regions');
  assert.equal(memory.viewUser(user - 1, 1), undefined);
  assert.equal(memory.viewUser(user + 16384, 1), undefined);
  assert.equal(
    memory.viewUser(GIB, 1),
    undefined,
    'a guest address is no address of the front-end',
  );
});
