/** Scatter-gather lists against a naive model: an array of bytes in the order of the list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IovecTable, Mapping, SEGMENTS_PER_SLOT } from '../../../src/sys/index.ts';
import { propertyOptions } from '../../support/property-options.ts';

const POOL_BYTES = 8192;

/** Pieces of a pool of memory: where they start and how long they are, empty ones too. */
const pieces = fc.array(fc.tuple(fc.nat(POOL_BYTES - 600), fc.oneof(fc.constant(0), fc.nat(600))), {
  maxLength: 12,
});

const operation = fc.record({
  kind: fc.constantFrom('advance', 'zero', 'gather', 'scatter'),
  bytes: fc.nat(1500),
});

/** The memory that a list names, byte by byte, and what is left of the list. */
class Model {
  readonly pool = new Uint8Array(POOL_BYTES);
  places: number[] = [];

  constructor(list: readonly (readonly [number, number])[]) {
    for (let index = 0; index < POOL_BYTES; index++) this.pool[index] = (index % 251) + 1;
    for (const [start, length] of list) {
      for (let index = 0; index < length; index++) this.places.push(start + index);
    }
  }

  take(bytes: number): number[] {
    return this.places.splice(0, bytes);
  }
}

/** The bytes a slot's list still names, read back through the table's own words. */
function placesOf(table: IovecTable, slot: number, base: number): number[] {
  const places: number[] = [];
  let at = table.firstWord(slot);
  for (let left = table.remaining(slot); left > 0; left--) {
    const address = (table.words[at + 1] >>> 0) * 2 ** 32 + (table.words[at] >>> 0);
    for (let index = 0; index < table.words[at + 2]; index++) places.push(address - base + index);
    assert.equal(table.words[at + 3], 0);
    at += 4;
  }
  return places;
}

test('random lists are advanced, zeroed, gathered and scattered as the model says', () => {
  using table = new IovecTable(3);
  using pool = Mapping.anonymous(POOL_BYTES);
  using side = Mapping.anonymous(4096);
  const poolBytes = new Uint8Array(pool.view(0, POOL_BYTES));
  const sideBytes = new Uint8Array(side.view(0, 4096));
  const slot = 1;
  const apply = (model: Model, kind: string, bytes: number): void => {
    const places = model.take(bytes);
    if (kind === 'advance') table.advance(slot, bytes);
    if (kind === 'zero') {
      table.zero(slot, bytes);
      for (const place of places) model.pool[place] = 0;
    }
    if (kind === 'gather') {
      sideBytes.fill(0);
      table.gather(slot, side.address, bytes);
      const expected = new Uint8Array(4096);
      places.forEach((place, index) => {
        expected[index] = model.pool[place];
      });
      assert.deepEqual(sideBytes, expected);
    }
    if (kind === 'scatter') {
      for (let index = 0; index < 4096; index++) sideBytes[index] = (index * 7) & 0xff;
      table.scatter(slot, side.address, bytes);
      places.forEach((place, index) => {
        model.pool[place] = (index * 7) & 0xff;
      });
    }
  };
  fc.assert(
    fc.property(pieces, fc.array(operation, { maxLength: 8 }), (list, operations) => {
      const model = new Model(list);
      poolBytes.set(model.pool);
      table.clear(slot);
      for (const [start, length] of list) {
        const address = pool.address + start;
        assert.ok(table.push(slot, address | 0, (address / 2 ** 32) | 0, length));
      }
      for (const { kind, bytes } of operations) {
        apply(model, kind, bytes);
        assert.deepEqual(placesOf(table, slot, pool.address), model.places);
        assert.deepEqual(poolBytes, model.pool);
      }
      table.rewind(slot);
      const pushed = new Model(list).places;
      assert.deepEqual(placesOf(table, slot, pool.address), pushed, 'as it was pushed');
      assert.equal(table.remaining(slot), list.length);
    }),
    propertyOptions(300),
  );
});

test('a full list refuses more and is left as it is', () => {
  using table = new IovecTable(2);
  for (let index = 0; index < SEGMENTS_PER_SLOT; index++) {
    assert.ok(table.push(0, index, 7, 100 + index));
  }
  assert.ok(table.push(1, 0x1234, 1, 9), 'the next slot has room of its own');
  assert.ok(!table.push(0, 1, 1, 1));
  assert.equal(table.remaining(0), SEGMENTS_PER_SLOT);
  const last = (SEGMENTS_PER_SLOT - 1) * 4;
  assert.deepEqual([...table.words.subarray(last, last + 4)], [255, 7, 355, 0]);
  assert.deepEqual([...table.words.subarray(last + 4, last + 8)], [0x1234, 1, 9, 0]);
});

test('an address carries into its high half when a piece is cut across 4 GiB', () => {
  using table = new IovecTable(1);
  table.push(0, -16, 2, 100);
  table.advance(0, 15);
  assert.deepEqual([...table.words.subarray(0, 3)], [-1, 2, 85]);
  table.advance(0, 1);
  assert.deepEqual([...table.words.subarray(0, 3)], [0, 3, 84]);
  table.advance(0, 80);
  assert.deepEqual([...table.words.subarray(0, 3)], [80, 3, 4]);
  table.rewind(0);
  assert.deepEqual([...table.words.subarray(0, 3)], [-16, 2, 100], 'and borrows back');
  table.advance(0, 20);
  table.advance(0, 80);
  table.rewind(0);
  assert.deepEqual([...table.words.subarray(0, 3)], [-16, 2, 100], 'also when it is used up');
});

test('a piece of 2 GiB and more keeps its length', () => {
  using table = new IovecTable(1);
  table.push(0, 0, 1, 3 * 2 ** 30);
  table.advance(0, 2 ** 30);
  assert.deepEqual(
    [...table.words.subarray(0, 3)].map((word) => word >>> 0),
    [2 ** 30, 1, 2 ** 31],
  );
});

test('the address of a list moves on with it, in halves and as a number', () => {
  using table = new IovecTable(4);
  table.push(2, 0, 1, 10);
  table.push(2, 0, 1, 10);
  const start = table.address(2);
  assert.equal(start - table.address(0), 2 * SEGMENTS_PER_SLOT * 16);
  table.advance(2, 10);
  assert.equal(table.address(2), start + 16);
  const joined = (table.addressHigh(2) >>> 0) * 2 ** 32 + (table.addressLow(2) >>> 0);
  assert.equal(joined, start + 16);
  table.clear(2);
  assert.equal(table.remaining(2), 0);
  assert.equal(table.address(2), start);
});

test('a table has a bounded number of slots', () => {
  assert.throws(() => new IovecTable(0), /0 slots/);
  assert.throws(() => new IovecTable(4097), /4097 slots/);
});
