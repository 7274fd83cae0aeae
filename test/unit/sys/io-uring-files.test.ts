/** File I/O on an io_uring: registered files, and random transfers against a model. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createSocketPair,
  Errno,
  IoUring,
  Mapping,
  receiveMessage,
} from '../../../src/sys/index.ts';
import { Op, Sqe } from '../../../src/sys/io-uring/constants.ts';
import { FixedFiles } from '../../../src/sys/io-uring/fixed-files.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { propertyOptions } from '../../support/property-options.ts';
import { missingEngine } from '../../support/reactors.ts';
import { CompletionLog, pushTransfer, reapUntil } from '../../support/ring-driver.ts';

const skip = missingEngine('io_uring') ?? false;

/** Read a byte by registered index: the byte, or a negative errno. */
function readFixed(ring: IoUring, memory: Mapping, index: number): number {
  const log = new CompletionLog();
  const file = { fd: index, sqeFlags: Sqe.FIXED_FILE, offset: 0 };
  pushTransfer(ring, Op.READ, file, { address: memory.address, bytes: 1 }, 1);
  reapUntil(ring, log, 1);
  const result = log.results.get(1) ?? 0;
  return result === 1 ? new Uint8Array(memory.view(0, 1))[0] : result;
}

test('a registered file is used by its index, until it is removed', { skip }, (t) => {
  const folder = imageFolder(t);
  const open = (name: string): number => {
    writeFileSync(join(folder, name), name);
    return openSync(join(folder, name), 'r');
  };
  using ring = new IoUring({ entries: 8 });
  using memory = Mapping.anonymous(4096);
  const files = new FixedFiles(ring);
  const [a, b, c] = ['a', 'b', 'c'].map(open);
  const first = files.add(a);
  const second = files.add(b);
  assert.notEqual(first, second);
  assert.equal(readFixed(ring, memory, first), 'a'.charCodeAt(0));
  assert.equal(readFixed(ring, memory, second), 'b'.charCodeAt(0));
  files.remove(first);
  assert.equal(readFixed(ring, memory, first), -Errno.EBADF);
  assert.equal(readFixed(ring, memory, second), 'b'.charCodeAt(0));
  assert.equal(files.add(c), first, 'the place is used again');
  assert.equal(readFixed(ring, memory, first), 'c'.charCodeAt(0));
  for (const fd of [a, b, c]) closeSync(fd);
});

test('a full table says so, and has room again after a removal', { skip }, () => {
  using ring = new IoUring({ entries: 8 });
  const files = new FixedFiles(ring);
  const fd = openSync('/dev/null', 'r');
  const indices = Array.from({ length: 256 }, () => files.add(fd));
  assert.deepEqual(new Set(indices).size, 256);
  assert.ok(indices.every((index) => index >= 0));
  assert.equal(files.add(fd), -1);
  files.remove(-1);
  assert.equal(files.add(fd), -1);
  files.remove(indices[17]);
  assert.equal(files.add(fd), indices[17]);
  closeSync(fd);
});

test('a removed file is held open no longer', { skip }, () => {
  using ring = new IoUring({ entries: 8 });
  const files = new FixedFiles(ring);
  const [ours, theirs] = createSocketPair();
  const index = files.add(ours.number);
  ours.close();
  assert.equal(receiveMessage(theirs.number, new Uint8Array(1)), undefined);
  files.remove(index);
  // The kernel lets go of it once nothing that is under way can use it.
  const log = new CompletionLog();
  const deadlineMs = performance.now() + 10_000;
  let bytes: number | undefined;
  while (bytes === undefined && performance.now() < deadlineMs) {
    ring.submitAndWait(1);
    ring.reap(log);
    bytes = receiveMessage(theirs.number, new Uint8Array(1))?.bytes;
  }
  assert.equal(bytes, 0);
  theirs.close();
});

const CELL_BYTES = 512;
const CELLS = 64;

interface Transfer {
  readonly isWrite: boolean;
  readonly cell: number;
  readonly cells: number;
  readonly skew: number;
  readonly value: number;
}

const transfers = fc.array(
  fc.record({
    isWrite: fc.boolean(),
    cell: fc.nat(CELLS - 8),
    cells: fc.integer({ min: 1, max: 8 }),
    skew: fc.nat(511),
    value: fc.integer({ min: 1, max: 255 }),
  }),
  { maxLength: 24 },
);

/** Those that touch no cell twice: the kernel may do them in any order. */
function withoutOverlap(batch: readonly Transfer[]): Transfer[] {
  const taken = new Set<number>();
  return batch.filter(({ cell, cells }) => {
    const range = Array.from({ length: cells + 1 }, (_, index) => cell + index);
    if (range.some((index) => taken.has(index))) return false;
    for (const index of range) taken.add(index);
    return true;
  });
}

/** A file, a model of it, and memory in which transfer n has its own part. */
class ModelledFile {
  readonly #ring: IoUring;
  readonly #fd: number;
  readonly #memory: Mapping;
  #model = Buffer.alloc(0);
  readonly #bytes: Uint8Array;

  constructor(ring: IoUring, fd: number, memory: Mapping) {
    this.#ring = ring;
    this.#fd = fd;
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.view(0, memory.sizeBytes));
  }

  get content(): Buffer {
    return this.#model;
  }

  /** Do a batch at once and check every result. */
  run(batch: readonly Transfer[]): void {
    const log = new CompletionLog();
    const partBytes = 9 * CELL_BYTES;
    const sizeBefore = this.#model.length;
    batch.forEach((transfer, index) => {
      const { isWrite, cells, value } = transfer;
      const at = index * partBytes;
      const bytes = cells * CELL_BYTES;
      this.#bytes.fill(isWrite ? value : 0xee, at, at + bytes);
      const file = { fd: this.#fd, offset: transfer.cell * CELL_BYTES + transfer.skew };
      const part = { address: this.#memory.address + at, bytes };
      pushTransfer(this.#ring, isWrite ? Op.WRITE : Op.READ, file, part, index);
    });
    reapUntil(this.#ring, log, batch.length);
    batch.forEach((transfer, index) => {
      this.#check(transfer, index * partBytes, log.results.get(index), sizeBefore);
    });
  }

  #check(transfer: Transfer, at: number, result = -1, sizeBefore = 0): void {
    const offset = transfer.cell * CELL_BYTES + transfer.skew;
    const bytes = transfer.cells * CELL_BYTES;
    if (transfer.isWrite) {
      assert.equal(result, bytes);
      const grown = Buffer.alloc(Math.max(this.#model.length, offset + bytes));
      this.#model.copy(grown);
      this.#model = grown.fill(transfer.value, offset, offset + bytes);
      return;
    }
    // Other transfers of the batch may have moved the end of file before or after the read.
    const atLeast = Math.max(0, Math.min(bytes, sizeBefore - offset));
    assert.ok(result >= atLeast && result <= bytes, `read ${result} of ${atLeast} to ${bytes}`);
    const read = Buffer.from(this.#bytes.subarray(at, at + result));
    const known = this.#model.subarray(offset, offset + result);
    assert.ok(known.equals(read.subarray(0, known.length)), 'what was written is read');
    assert.ok(
      read.subarray(known.length).every((byte) => byte === 0),
      'gaps are zeros',
    );
    assert.ok(this.#bytes.subarray(at + result, at + bytes).every((byte) => byte === 0xee));
  }
}

test('random reads and writes, many at a time, agree with a model of the file', { skip }, (t) => {
  const path = join(imageFolder(t), 'file');
  using ring = new IoUring({ entries: 8 });
  using memory = Mapping.anonymous(24 * 9 * CELL_BYTES);
  fc.assert(
    fc.property(fc.array(transfers, { maxLength: 6 }), (batches) => {
      writeFileSync(path, '');
      const fd = openSync(path, 'r+');
      const file = new ModelledFile(ring, fd, memory);
      for (const batch of batches) file.run(withoutOverlap(batch));
      closeSync(fd);
      assert.ok(readFileSync(path).equals(file.content));
    }),
    propertyOptions(60),
  );
});
