/** Mapped memory: its windows, its bounds and what is left of it after close. */
import assert from 'node:assert/strict';
import { fstatSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { createMemfd, MAX_VIEW_BYTES, Mapping } from '../../../src/sys/index.ts';
import { collectUntil, isMapped } from '../../support/memory-maps.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';

const GIB = 2 ** 30;

function fileByte(fd: number, offset: number): number {
  const buffer = new Uint8Array(1);
  assert.equal(readSync(fd, buffer, 0, 1, offset), 1);
  return buffer[0];
}

test('a file is shared: writes through a view reach it, and the other way round', () => {
  using file = createMemfd('shared', 8192);
  using mapping = Mapping.ofFile(file.number, 0, 8192);
  const bytes = new Uint8Array(mapping.view(0, 8192));
  bytes[5000] = 42;
  assert.equal(fileByte(file.number, 5000), 42);
  writeSync(file.number, Uint8Array.of(43), 0, 1, 6000);
  assert.equal(bytes[6000], 43);
});

test('a view stays readable after close: zeros, and writes reach no file', () => {
  using file = createMemfd('stale', 8192);
  const mapping = Mapping.ofFile(file.number, 0, 8192);
  const bytes = new Uint8Array(mapping.view(0, 8192));
  bytes.fill(7);
  mapping.close();
  assert.ok(bytes.every((byte) => byte === 0));
  bytes.fill(9);
  assert.equal(fileByte(file.number, 0), 7);
  assert.equal(fileByte(file.number, 8191), 7);
});

test('memory without views is unmapped by close', () => {
  const mapping = Mapping.anonymous(65536);
  assert.ok(isMapped(mapping.address));
  mapping.close();
  assert.ok(!isMapped(mapping.address));
  mapping.close();
});

test('memory with views is unmapped when the last view is collected, not before', async () => {
  const mapping = Mapping.anonymous(65536);
  const makeGarbage = (): void => {
    new Uint8Array(mapping.view(0, 65536)).fill(1);
  };
  makeGarbage();
  let kept: Uint8Array | undefined = new Uint8Array(mapping.view(4096, 4096));
  mapping.close();
  const isGone = (): boolean => !isMapped(mapping.address);
  assert.ok(!(await collectUntil(isGone, 5)), 'a view is still in use');
  assert.equal(kept[0], 0);
  kept = undefined;
  assert.ok(await collectUntil(isGone), 'no view is left');
});

test('a mapping of more than 4 GiB is reached by windows, at both ends and in between', () => {
  const sizeBytes = 6 * GIB;
  using file = createMemfd('huge', sizeBytes);
  using mapping = Mapping.ofFile(file.number, 0, sizeBytes);
  const places = [0, 3 * GIB - 1, 4 * GIB - 1, 4 * GIB, 5 * GIB + 4096, sizeBytes - 1];
  places.forEach((place, index) => {
    new Uint8Array(mapping.view(place, 1))[0] = index + 1;
  });
  places.forEach((place, index) => {
    assert.equal(fileByte(file.number, place), index + 1);
  });
  const window = new Uint8Array(mapping.view(5 * GIB, MAX_VIEW_BYTES));
  assert.equal(window[4096], 5);
  assert.equal(window[MAX_VIEW_BYTES - 1], 6);
});

test('a view within the mapping and its limit, or an error', () => {
  using mapping = Mapping.anonymous(2 * GIB);
  assert.throws(() => mapping.view(0, MAX_VIEW_BYTES + 1), /view of 1073741825 bytes/);
  assert.throws(() => mapping.view(0, 0), /view of 0 bytes/);
  assert.throws(() => mapping.view(-1, 4096), /out of bounds/);
  assert.throws(() => mapping.view(2 * GIB - 4095, 4096), /out of bounds/);
  assert.equal(mapping.view(2 * GIB - 4096, 4096).byteLength, 4096);
});

test('a closed mapping gives neither views nor handles', () => {
  const mapping = Mapping.anonymous(4096);
  mapping.close();
  assert.throws(() => mapping.view(0, 1), /closed mapping/);
  assert.throws(() => mapping.handle(), /closed mapping/);
});

test('a part of a file that starts anywhere', () => {
  using file = createMemfd('part', 300_000);
  for (const offset of [0, 1, 4095, 4096, 65_535, 65_536, 100_001, 299_999]) {
    writeSync(file.number, Uint8Array.of(offset & 0xff), 0, 1, offset);
    using mapping = Mapping.ofFile(file.number, offset, 300_000 - offset);
    const bytes = new Uint8Array(mapping.view(0, 300_000 - offset));
    assert.equal(bytes[0], offset & 0xff);
    bytes[bytes.length - 1] = 99;
    assert.equal(fileByte(file.number, 299_999), 99);
  }
});

test('what cannot be mapped is a SystemError', () => {
  assert.throws(() => Mapping.ofFile(1_000_000, 0, 4096), { code: 'EBADF' });
  assert.throws(() => Mapping.anonymous(2 ** 50), { code: 'ENOMEM', syscall: 'mmap' });
  assert.throws(() => Mapping.anonymous(0), /at least one byte/);
});

test('a memory file has its size, is zeroed, and is named in /proc', () => {
  using file = createMemfd('guest-ram', 12_345);
  assert.equal(fstatSync(file.number).size, 12_345);
  assert.equal(fileByte(file.number, 12_344), 0);
  assert.match(readlinkSync(`/proc/self/fd/${file.number}`), /^\/memfd:guest-ram/);
  assert.throws(() => createMemfd('too long'.repeat(40), 1), { code: 'EINVAL' });
});

test('a memory file that cannot have its size leaves no descriptor behind', () => {
  const before = openDescriptors();
  assert.throws(() => createMemfd('negative', -1), { code: 'EINVAL', syscall: 'ftruncate' });
  assert.deepEqual(openDescriptors(), before);
});
