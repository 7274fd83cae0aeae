/** The file disk through its interface, on both engines and in every cache mode. */
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  CACHE_MODES,
  type CacheMode,
  DiskFlag,
  DiskOperation,
  openFileDisk,
} from '../../../src/storage/index.ts';
import type { EngineName } from '../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import { imageFolder } from '../../support/image-folder.ts';

const MIB = 2 ** 20;
const BLOCK_BYTES = 4096;

/** A new sparse image. */
function sparseImage(t: TestContext, sizeBytes: number): string {
  const path = join(imageFolder(t), 'image');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
  return path;
}

/** Bytes on the host's disk. */
function allocatedBytes(path: string): number {
  return statSync(path).blocks * 512;
}

/** Data that is different in every 512 bytes. */
function pattern(bytes: number, seed: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) data[at] = ((at >> 9) * 31 + at * 7 + seed) & 0xff;
  return data;
}

/** One test for every engine and cache mode. */
function everywhere(
  name: string,
  body: (t: TestContext, engine: EngineName, cache: CacheMode) => void,
): void {
  for (const { engine, skip } of ENGINES) {
    for (const cache of CACHE_MODES) {
      test(`${engine}, cache=${cache}: ${name}`, { skip }, (t) => body(t, engine, cache));
    }
  }
}

everywhere('what is written is read, from the disk and from the file', (t, engine, cache) => {
  const path = sparseImage(t, 8 * MIB);
  const expected = Buffer.alloc(8 * MIB);
  {
    using session = new DiskSession(openFileDisk({ path, cache }), engine);
    const stable = cache === 'writethrough' ? DiskFlag.STABLE : 0;
    for (const [offset, bytes] of [
      [0, 4096],
      [4096, 512],
      [MIB - 512, 1024],
      [2 * MIB, MIB],
      [8 * MIB - 4096, 4096],
    ]) {
      const data = pattern(bytes, offset & 0x7f);
      assert.equal(session.write(offset, data, stable), 0);
      data.copy(expected, offset);
    }
    assert.equal(session.flush(), 0);
    assert.deepEqual(session.read(0, 8 * MIB), expected);
  }
  assert.ok(readFileSync(path).equals(expected));
});

everywhere('scattered memory is read and written in order', (t, engine, cache) => {
  const path = sparseImage(t, MIB);
  using session = new DiskSession(openFileDisk({ path, cache }), engine);
  const data = pattern(8192, 3);
  // In memory: second half, gap, first half.
  data.copy(session.memory, 0, 4096, 8192);
  data.copy(session.memory, 65536, 0, 4096);
  const pieces = [
    { at: 65536, bytes: 4096 },
    { at: 0, bytes: 4096 },
  ];
  assert.equal(session.run({ operation: DiskOperation.WRITE, offset: 16384, pieces }), 0);
  assert.ok(readFileSync(path).subarray(16384, 24576).equals(data));
  session.memory.fill(0, 0, 131072);
  assert.equal(session.run({ operation: DiskOperation.READ, offset: 16384, pieces }), 0);
  assert.ok(session.memory.subarray(65536, 65536 + 4096).equals(data.subarray(0, 4096)));
  assert.ok(session.memory.subarray(0, 4096).equals(data.subarray(4096)));
});

everywhere('many requests at a time all get done', (t, engine, cache) => {
  const path = sparseImage(t, MIB);
  using session = new DiskSession(openFileDisk({ path, cache }), engine);
  const requests = Array.from({ length: 16 }, (_, index) => {
    session.memory.fill(index + 1, index * 4096, (index + 1) * 4096);
    const pieces = [{ at: index * 4096, bytes: 4096 }];
    return { operation: DiskOperation.WRITE, offset: index * 8192, pieces };
  });
  assert.deepEqual(session.runAll(requests), new Array(16).fill(0));
  const content = readFileSync(path);
  for (let index = 0; index < 16; index++) {
    assert.equal(content[index * 8192 + 4095], index + 1);
    assert.equal(content[index * 8192 + 4096], 0);
  }
});

everywhere('zeroes are written, and space given back only with UNMAP', (t, engine, cache) => {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(MIB, 'x'));
  using session = new DiskSession(openFileDisk({ path, cache }), engine);
  assert.equal(session.flush(), 0);
  const full = allocatedBytes(path);
  assert.ok(full >= MIB);
  const stable = cache === 'writethrough' ? DiskFlag.STABLE : 0;
  assert.equal(session.writeZeroes(65536, 65536, stable), 0);
  assert.equal(session.writeZeroes(512, 1024, stable), 0);
  assert.ok(allocatedBytes(path) >= full, 'still allocated');
  assert.equal(session.writeZeroes(262144, 262144, DiskFlag.UNMAP | stable), 0);
  assert.ok(allocatedBytes(path) <= full - 262144, 'given back');
  const expected = Buffer.alloc(MIB, 'x');
  expected.fill(0, 65536, 131072).fill(0, 512, 1536).fill(0, 262144, 524288);
  assert.ok(readFileSync(path).equals(expected));
  assert.deepEqual(session.read(0, MIB), expected);
});

everywhere('discarded space is given back and reads as zeros', (t, engine, cache) => {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(MIB, 'x'));
  using session = new DiskSession(openFileDisk({ path, cache }), engine);
  session.flush();
  const full = allocatedBytes(path);
  assert.equal(session.discard(MIB / 2, MIB / 4), 0);
  assert.ok(allocatedBytes(path) <= full - MIB / 4);
  assert.deepEqual(session.read(MIB / 2, MIB / 4), Buffer.alloc(MIB / 4));
  assert.deepEqual(session.read(0, 4096), Buffer.alloc(4096, 'x'));
  assert.equal(statSync(path).size, MIB, 'the size stays');
});

everywhere('a sparse image stays sparse under reads and far writes', (t, engine, cache) => {
  const sizeBytes = 6 * 2 ** 30;
  const path = sparseImage(t, sizeBytes);
  using session = new DiskSession(openFileDisk({ path, cache }), engine);
  assert.equal(session.disk.info.sizeBytes, sizeBytes);
  assert.deepEqual(session.read(3 * 2 ** 30, MIB), Buffer.alloc(MIB));
  const data = pattern(BLOCK_BYTES, 9);
  for (const offset of [0, 2 ** 32 - 4096, 2 ** 32, 5 * 2 ** 30, sizeBytes - 4096]) {
    assert.equal(session.write(offset, data), 0);
    assert.deepEqual(session.read(offset, BLOCK_BYTES), data);
  }
  assert.equal(session.flush(), 0);
  assert.ok(allocatedBytes(path) < MIB);
  assert.equal(statSync(path).size, sizeBytes);
});
