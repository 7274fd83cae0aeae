/** The guest's address space against a naive model that looks at every region anew. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GuestMemory, type MemoryRegion } from '../../../src/memory/index.ts';
import { Mapping } from '../../../src/sys/index.ts';
import { propertyOptions } from '../../support/property-options.ts';

const GIB = 2 ** 30;
const SPACE_END = 2n ** 64n;

/** Disjoint regions: each after a gap, which is often none, from a random start. */
interface Layout {
  readonly start: number;
  readonly parts: readonly { readonly gapBytes: number; readonly sizeBytes: number }[];
  readonly isReversed: boolean;
}

const layouts: fc.Arbitrary<Layout> = fc.record({
  start: fc.constantFrom(0, 4096, GIB - 100, 4 * GIB - 300, 4 * GIB, 2 ** 46, 2 ** 52),
  parts: fc.array(
    fc.record({
      gapBytes: fc.constantFrom(0, 0, 0, 1, 100, 4 * GIB),
      sizeBytes: fc.constantFrom(1, 20, 100, 300),
    }),
    { minLength: 1, maxLength: 6, size: 'max' },
  ),
  isReversed: fc.boolean(),
});

/** A range as the guest may name it: near a region's edges, or anywhere in 64 bits. */
interface Wanted {
  readonly region: number;
  readonly isAtEnd: boolean;
  readonly distance: number;
  readonly elsewhere: bigint | null;
  readonly lengthBytes: number;
}

const wanteds: fc.Arbitrary<Wanted> = fc.record({
  region: fc.nat(5),
  isAtEnd: fc.boolean(),
  distance: fc.constantFrom(-100, -50, -17, -2, -1, 0, 1, 30, 99, 100),
  elsewhere: fc.oneof(
    { weight: 9, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: SPACE_END - 1n }) },
  ),
  lengthBytes: fc.constantFrom(1, 2, 16, 50, 100, 101, 300, 1200),
});

function makeRegions({ start, parts, isReversed }: Layout): MemoryRegion[] {
  let next = start;
  const regions = parts.map(({ gapBytes, sizeBytes }, index) => {
    const guestAddress = next + gapBytes;
    next = guestAddress + sizeBytes;
    const mapping = Mapping.anonymous(sizeBytes);
    // What is in memory says where it is.
    const bytes = new Uint8Array(mapping.view(0, sizeBytes));
    bytes.forEach((_, at) => {
      bytes[at] = contentAt(BigInt(guestAddress + at));
    });
    return { guestAddress, userAddress: 2 ** 40 + index * GIB, sizeBytes, mapping };
  });
  return isReversed ? regions.reverse() : regions;
}

function contentAt(address: bigint): number {
  return Number((address * 31n) % 251n);
}

function firstAddress(regions: readonly MemoryRegion[], wanted: Wanted): bigint {
  if (wanted.elsewhere !== null) return wanted.elsewhere;
  const region = regions[wanted.region % regions.length];
  const edge = region.guestAddress + (wanted.isAtEnd ? region.sizeBytes : 0);
  return BigInt.asUintN(64, BigInt(edge + wanted.distance));
}

function halves(address: bigint): [number, number] {
  return [Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))];
}

/** The model: the region that holds an address. Addresses do not wrap around. */
function holder(regions: readonly MemoryRegion[], address: bigint): MemoryRegion | undefined {
  return regions.find(
    ({ guestAddress, sizeBytes }) =>
      BigInt(guestAddress) <= address && address < BigInt(guestAddress + sizeBytes),
  );
}

/** Run a property on random regions and a random range of addresses. */
function forAllRanges(
  check: (memory: GuestMemory, address: bigint, lengthBytes: number) => void,
): void {
  fc.assert(
    fc.property(layouts, fc.array(wanteds, { maxLength: 12, size: 'max' }), (layout, list) => {
      const regions = makeRegions(layout);
      const memory = new GuestMemory(regions);
      for (const wanted of list) {
        check(memory, firstAddress(regions, wanted), wanted.lengthBytes);
      }
      for (const { mapping } of regions) mapping.close();
    }),
    propertyOptions(200),
  );
}

/** Host address ranges of a guest range, region by region, as a device makes its list. */
function translate(
  memory: GuestMemory,
  address: bigint,
  lengthBytes: number,
): number[][] | undefined {
  const pieces: number[][] = [];
  let at = address;
  for (let left = lengthBytes; left > 0; ) {
    const found = memory.locate(...halves(at), left);
    if (found === 0) return undefined;
    assert.ok(found > 0 && found <= left);
    pieces.push([(memory.hostHigh >>> 0) * 2 ** 32 + (memory.hostLow >>> 0), found]);
    at += BigInt(found);
    left -= found;
  }
  return pieces;
}

/** The same by the model, byte by byte. */
function naiveTranslate(
  regions: readonly MemoryRegion[],
  address: bigint,
  lengthBytes: number,
): number[][] | undefined {
  const pieces: number[][] = [];
  let previous: MemoryRegion | undefined;
  for (let index = 0; index < lengthBytes; index++) {
    const at = address + BigInt(index);
    const region = holder(regions, at);
    if (region === undefined) return undefined;
    if (region !== previous) {
      const offset = Number(at - BigInt(region.guestAddress));
      pieces.push([region.mapping.address + offset, 0]);
    }
    pieces[pieces.length - 1][1] += 1;
    previous = region;
  }
  return pieces;
}

test('translation: within a region, split at its end, refused at a gap', () => {
  const seen = { whole: 0, split: 0, refused: 0 };
  forAllRanges((memory, address, lengthBytes) => {
    const expected = naiveTranslate(memory.regions, address, lengthBytes);
    assert.deepEqual(translate(memory, address, lengthBytes), expected);
    if (expected === undefined) seen.refused += 1;
    else if (expected.length > 1) seen.split += 1;
    else seen.whole += 1;
  });
  for (const [kind, count] of Object.entries(seen)) assert.ok(count > 10, `${kind}: ${count}`);
});

test('the way back: from each byte of memory, and from nowhere else', () => {
  forAllRanges((memory, address, lengthBytes) => {
    let at = address;
    for (const [host, bytes] of translate(memory, address, lengthBytes) ?? []) {
      for (const offset of [0, bytes - 1]) {
        assert.ok(memory.locateHost(...halves(BigInt(host + offset))));
        assert.deepEqual([memory.guestLow, memory.guestHigh], halves(at + BigInt(offset)));
      }
      at += BigInt(bytes);
    }
    for (const { mapping } of memory.regions) {
      for (const host of [mapping.address - 1, mapping.address + mapping.sizeBytes]) {
        const isOther = memory.regions.some(
          (other) =>
            host >= other.mapping.address && host < other.mapping.address + other.mapping.sizeBytes,
        );
        if (!isOther) assert.ok(!memory.locateHost(...halves(BigInt(host))));
      }
    }
  });
});

test('views: only for what lies in one region, and of the right bytes', () => {
  forAllRanges((memory, address, lengthBytes) => {
    const view = memory.access(...halves(address), lengthBytes);
    const pieces = naiveTranslate(memory.regions, address, lengthBytes);
    assert.equal(view !== undefined, pieces?.length === 1);
    if (view === undefined) return;
    for (const index of [0, lengthBytes - 1]) {
      const byte = view.getUint8(memory.viewOffset + index);
      assert.equal(byte, contentAt(address + BigInt(index)));
    }
  });
});

test('copies: out and in again, across regions, or not at all past a gap', () => {
  forAllRanges((memory, address, lengthBytes) => {
    const isThere = naiveTranslate(memory.regions, address, lengthBytes) !== undefined;
    const bytes = new Uint8Array(lengthBytes);
    assert.equal(memory.copyFrom(...halves(address), bytes), isThere);
    if (!isThere) return;
    bytes.forEach((byte, index) => {
      assert.equal(byte, contentAt(address + BigInt(index)));
    });
    const other = bytes.map((byte) => byte ^ 0xff);
    assert.ok(memory.copyTo(...halves(address), other));
    const again = new Uint8Array(lengthBytes);
    assert.ok(memory.copyFrom(...halves(address), again));
    assert.deepEqual(again, other);
    // Nothing next to it has changed.
    const before = new Uint8Array(1);
    if (memory.copyFrom(...halves(address - 1n), before)) {
      assert.equal(before[0], contentAt(address - 1n));
    }
    memory.copyTo(...halves(address), bytes);
  });
});
