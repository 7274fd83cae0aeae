/**
 * Descriptor chains at random: well-formed ones come back as they were written; of anything else
 * only bytes of the table and of the indirect table are read, and nothing is thrown.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { GuestRam } from '../../../src/testing/index.ts';
import {
  ChainFault,
  DescriptorChain,
  DescriptorFlag,
  MAX_CHAIN_SEGMENTS,
} from '../../../src/virtqueue/index.ts';
import { putDescriptor, type RawDescriptor } from '../../support/descriptor-table.ts';
import { GuardedMemory } from '../../support/guarded-memory.ts';
import { propertyOptions } from '../../support/property-options.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const START = 0x7_ffff_f000;
const RAM_BYTES = 4096;
const MAX_TABLE = 64;
const ram = new GuestRam([{ guestAddress: START, sizeBytes: RAM_BYTES }]);
const guestBytes = new DataView(ram.regions[0].mapping.view(0, RAM_BYTES));
const chain = new DescriptorChain();
after(() => ram[Symbol.dispose]());

interface Piece {
  readonly address: number;
  readonly length: number;
}

const piece = fc.record({
  address: fc.maxSafeNat(),
  length: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
});
const pieces = fc.array(piece, { maxLength: 24, size: 'max' });
/** A random order of a table's places. */
const places = fc.shuffledSubarray(
  Array.from({ length: MAX_TABLE }, (_, index) => index),
  { minLength: MAX_TABLE },
);

/** Link pieces through a table at the given places. Returns the head. */
function layOut(
  view: DataView,
  all: readonly { piece: Piece; flags: number }[],
  order: readonly number[],
  last?: RawDescriptor,
): number {
  const count = all.length + (last === undefined ? 0 : 1);
  for (const [index, { piece: each, flags }] of all.entries()) {
    const hasNext = index + 1 < count;
    const link = hasNext ? { flags: flags | NEXT, next: order[index + 1] } : { flags };
    putDescriptor(view, 0, order[index], { ...each, ...link });
  }
  if (last !== undefined) putDescriptor(view, 0, order[all.length], last);
  return order[0];
}

test('a well-formed chain comes back as it was written', () => {
  const layout = fc.record({ readable: pieces, writable: pieces, places, inside: places });
  const split = fc.option(fc.nat(48));
  fc.assert(
    fc.property(layout, split, (given, indirectFrom) => {
      const all = [
        ...given.readable.map((each) => ({ piece: each, flags: 0 })),
        ...given.writable.map((each) => ({ piece: each, flags: WRITE })),
      ];
      fc.pre(all.length > 0);
      const table = new DataView(new ArrayBuffer(MAX_TABLE * 16));
      const direct = indirectFrom === null ? all : all.slice(0, indirectFrom);
      const indirect = all.slice(direct.length);
      let last: RawDescriptor | undefined;
      if (indirect.length > 0) {
        // Indirect tables start with their first entry.
        const order = [0, ...given.inside.filter((place) => place !== 0)];
        layOut(guestBytes, indirect, order);
        last = { address: START, length: MAX_TABLE * 16, flags: INDIRECT };
      }
      const head = layOut(table, direct, given.places, last);
      const memory = new GuardedMemory(ram.regions);
      assert.equal(chain.read(table, MAX_TABLE, head, memory, true), ChainFault.OK);
      const kept = all.filter((each) => each.piece.length > 0);
      assert.equal(chain.count, kept.length);
      assert.equal(chain.readable, kept.filter((each) => each.flags === 0).length);
      for (const [index, { piece: each }] of kept.entries()) {
        const high = chain.addressHigh[index] >>> 0;
        assert.equal(high * 2 ** 32 + (chain.addressLow[index] >>> 0), each.address);
        assert.equal(chain.length[index], each.length);
      }
    }),
    propertyOptions(1000),
  );
});

/** Descriptors that are mostly possible: pure noise would end at the first. */
const nearlyRight: fc.Arbitrary<RawDescriptor> = fc.record({
  address: fc.oneof(
    fc.integer({ min: -64, max: RAM_BYTES + 64 }).map((offset) => START + offset),
    fc.maxSafeNat(),
  ),
  length: fc.oneof(
    fc.nat(8).map((count) => count * 16),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  ),
  flags: fc.oneof(fc.constantFrom(0, NEXT, NEXT, NEXT | WRITE, WRITE, INDIRECT), fc.nat(0xffff)),
  next: fc.oneof(fc.nat(16), fc.nat(0xffff)),
});

test('garbage is never thrown at, and nothing outside the tables is read', () => {
  const table = fc.array(nearlyRight, { minLength: 16, maxLength: 16 });
  const inside = fc.uint8Array({ minLength: 64, maxLength: 64 });
  const head = fc.oneof(fc.nat(15), fc.nat(0xffff));
  const seen = new Set<ChainFault>();
  fc.assert(
    fc.property(
      table,
      table,
      inside,
      head,
      fc.boolean(),
      (direct, indirect, noise, first, isOk) => {
        const view = new DataView(new ArrayBuffer(16 * 16));
        for (const [index, each] of direct.entries()) putDescriptor(view, 0, index, each);
        for (const [index, each] of indirect.entries()) putDescriptor(guestBytes, 0, index, each);
        new Uint8Array(guestBytes.buffer).set(noise, RAM_BYTES - noise.length);
        const memory = new GuardedMemory(ram.regions);
        const fault = chain.read(view, 16, first, memory, isOk);
        seen.add(fault);
        assert.ok(chain.readable <= chain.count && chain.count <= MAX_CHAIN_SEGMENTS);
        if (!isOk) assert.equal(memory.accessedBytes, 0, 'no table is looked for');
        // One table at most: as one piece, or copied byte by byte.
        assert.ok(memory.accessedBytes <= MAX_CHAIN_SEGMENTS * 16);
        for (let index = 0; index < chain.count; index++) assert.ok(chain.length[index] > 0);
      },
    ),
    propertyOptions(4000),
  );
  // What the generator has to reach for this to mean anything.
  for (const fault of Object.values(ChainFault)) assert.ok(seen.has(fault), `fault ${fault}`);
});
