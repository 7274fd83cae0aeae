/** The memory table: what it takes, what it refuses, and what it lets go. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createEventFd, createMemfd, type Fd, Open, openFile } from '../../../src/sys/index.ts';
import { MAX_MEMORY_SLOTS, MemoryTable } from '../../../src/vhost-user/memory-table.ts';
import type { RegionDescription } from '../../../src/vhost-user/messages.ts';
import { propertyOptions } from '../../support/property-options.ts';

const FILE_BYTES = 1024 * 1024;
const FILE_NAME = 'memory-table-test';

function region(part: Partial<RegionDescription> = {}): RegionDescription {
  return {
    guestAddress: 0x1000,
    sizeBytes: 0x4000,
    userAddress: 0x7000_0000_0000,
    mmapOffset: 0,
    ...part,
  };
}

function withFile(use: (file: Fd) => void): void {
  using file = createMemfd(FILE_NAME, FILE_BYTES);
  use(file);
}

/** How many ranges of this process map the test's file. */
function mappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split(`memfd:${FILE_NAME}`).length - 1;
}

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

function refusal(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { name?: string }).name, 'ProtocolError');
    assert.equal((error as { code?: string }).code, code);
    assert.match((error as Error).message, message);
    return true;
  };
}

test('a new table takes the place of the old one, whose mappings are let go', () =>
  withFile((file) => {
    const table = new MemoryTable();
    const before = openFds();
    table.commit(
      table.replace([region(), region({ guestAddress: 0x9000, userAddress: 0 })], [file, file]),
    );
    assert.equal(table.regions.length, 2);
    assert.equal(mappings(), 2);
    table.commit(table.replace([region({ guestAddress: 0 })], [file]));
    assert.deepEqual(
      table.regions.map(({ guestAddress }) => guestAddress),
      [0],
    );
    assert.equal(mappings(), 1);
    table.commit([]);
    assert.equal(mappings(), 0);
    assert.equal(openFds(), before, 'descriptors are neither kept nor closed');
    assert.ok(file.isOpen);
  }));

test('regions are added and removed one by one, and the others stay mapped', () =>
  withFile((file) => {
    const table = new MemoryTable();
    const second = region({ guestAddress: 0x9000, userAddress: 0 });
    table.commit(table.add(region(), file));
    const [first] = table.regions;
    table.commit(table.add(second, file));
    assert.equal(table.regions[0], first);
    // The offset in the file does not count.
    table.commit(table.remove({ ...second, mmapOffset: 0x5000 }));
    assert.deepEqual(table.regions, [first]);
    assert.equal(mappings(), 1);
    table.commit([]);
  }));

test('a region that was not added cannot be removed', () =>
  withFile((file) => {
    const table = new MemoryTable();
    table.commit(table.add(region(), file));
    for (const part of [{ guestAddress: 0 }, { userAddress: 0 }, { sizeBytes: 0x1000 }]) {
      const remove = (): unknown => table.remove(region(part));
      assert.throws(remove, refusal('BAD_MEMORY', /no such region/), JSON.stringify(part));
    }
    assert.equal(table.regions.length, 1);
    table.commit([]);
  }));

test('509 regions fit, and no more', () =>
  withFile((file) => {
    const table = new MemoryTable();
    const at = (slot: number): RegionDescription =>
      region({ guestAddress: slot * 0x2000, userAddress: slot * 0x2000, sizeBytes: 0x1000 });
    assert.equal(MAX_MEMORY_SLOTS, 509);
    for (let slot = 0; slot < 509; slot++) table.commit(table.add(at(slot), file));
    assert.throws(() => table.add(at(509), file), refusal('BAD_MEMORY', /more than 509/));
    table.commit(table.remove(at(3)));
    table.commit(table.add(at(509), file));
    table.commit([]);
    assert.equal(mappings(), 0);
  }));

test('a table that is refused leaves nothing mapped, and the old one in force', () =>
  withFile((file) => {
    const table = new MemoryTable();
    table.commit(table.replace([region()], [file]));
    const bad = [region({ guestAddress: 0x10_0000, userAddress: 0 }), region({ sizeBytes: 0 })];
    assert.throws(() => table.replace(bad, [file, file]), refusal('BAD_MEMORY', /no size/));
    assert.equal(mappings(), 1);
    assert.equal(table.regions.length, 1);
    assert.throws(
      () => table.replace([region()], []),
      refusal('BAD_DESCRIPTORS', /0 descriptors for 1/),
    );
    table.commit([]);
  }));

const BEYOND = /ends beyond all addresses/;
const WRONG_REGIONS: readonly (readonly [string, Partial<RegionDescription>, RegExp])[] = [
  ['no size', { sizeBytes: 0 }, /no size/],
  ['a guest address that overflows', { guestAddress: Number.MAX_SAFE_INTEGER }, BEYOND],
  ['a user address that overflows', { userAddress: Number.MAX_SAFE_INTEGER - 0x3fff }, BEYOND],
  ['an offset that overflows', { mmapOffset: Number.MAX_SAFE_INTEGER }, BEYOND],
  ['a byte more than its file', { sizeBytes: FILE_BYTES + 1 }, /ends at 1048577/],
  ['an offset that puts its end behind the file', { mmapOffset: FILE_BYTES - 0x3fff }, /ends at/],
];

for (const [what, part, message] of WRONG_REGIONS) {
  test(`a region with ${what} is refused`, () =>
    withFile((file) => {
      const table = new MemoryTable();
      assert.throws(() => table.add(region(part), file), refusal('BAD_MEMORY', message));
      assert.throws(() => table.replace([region(part)], [file]), refusal('BAD_MEMORY', message));
      assert.equal(mappings(), 0);
    }));
}

test('what is no file, or may not be written, is no memory', () => {
  const table = new MemoryTable();
  using event = createEventFd();
  using folder = openFile('/', Open.RDONLY);
  using device = openFile('/dev/zero', Open.RDWR);
  using readOnly = openFile(process.execPath, Open.RDONLY);
  for (const fd of [event, folder, device]) {
    assert.throws(() => table.add(region(), fd), refusal('BAD_MEMORY', /is no file/), fd.what);
  }
  assert.throws(() => table.add(region(), readOnly), refusal('BAD_MEMORY', /mmap: EACCES/));
});

test('regions overlap exactly when they share a guest or a user address', () =>
  withFile((file) => {
    const place = fc.record({ start: fc.nat(40), pages: fc.integer({ min: 1, max: 10 }) });
    const property = fc.property(place, place, place, place, (g1, g2, u1, u2) => {
      const make = (guest: typeof g1, user: typeof u1): RegionDescription => ({
        guestAddress: guest.start * 4096,
        userAddress: user.start * 4096,
        sizeBytes: guest.pages * 4096,
        mmapOffset: 0,
      });
      const pagesOf = (start: number, pages: number): Set<number> =>
        new Set(Array.from({ length: pages }, (_, index) => start + index));
      const meet = (a: number, b: number): boolean => {
        const first = pagesOf(a, g1.pages);
        return [...pagesOf(b, g2.pages)].some((page) => first.has(page));
      };
      const clash = meet(g1.start, g2.start) || meet(u1.start, u2.start);
      const table = new MemoryTable();
      table.commit(table.add(make(g1, u1), file));
      if (clash) assert.throws(() => table.add(make(g2, u2), file), /regions overlap/);
      else table.commit(table.add(make(g2, u2), file));
      table.commit([]);
    });
    fc.assert(property, propertyOptions(300));
    assert.equal(mappings(), 0);
  }));

test('user addresses lead to where the region is mapped, if all of a range is in one', () =>
  withFile((file) => {
    const table = new MemoryTable();
    const user = 0x7000_0000_0000;
    const next = { userAddress: user + 0x4000, guestAddress: 0x9000 };
    table.commit(table.replace([region({ mmapOffset: 0x1000 }), region(next)], [file, file]));
    const { address } = table.regions[0].mapping;
    assert.equal(table.hostAddress(user, 1), address);
    assert.equal(table.hostAddress(user + 0x3fff, 1), address + 0x3fff);
    assert.equal(table.hostAddress(user + 0x3fff, 2), undefined, 'across two regions');
    assert.equal(table.hostAddress(user + 0x4000, 0x4000), table.regions[1].mapping.address);
    assert.equal(table.hostAddress(user - 1, 2), undefined);
    assert.equal(table.hostAddress(user + 0x7fff, 2), undefined);
    assert.equal(table.hostAddress(0x1000, 1), undefined, 'a guest address');
    table.commit([]);
  }));
