/** File I/O by system calls: one piece and many, flags, and errors as negative errno. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  Errno,
  Fallocate,
  IovecTable,
  Mapping,
  ReadWriteFlag,
  readAt,
  SyncFileIo,
  writeAt,
} from '../../../src/sys/index.ts';
import { imageFolder } from '../../support/image-folder.ts';

/** A file, memory, and lists of pieces of that memory. */
function setUp(t: TestContext, content: string, flags: string = 'r+') {
  const path = join(imageFolder(t), 'file');
  writeFileSync(path, content);
  const fd = openSync(path, flags);
  const table = new IovecTable(4);
  const memory = Mapping.anonymous(65536);
  t.after(() => {
    closeSync(fd);
    table[Symbol.dispose]();
    memory.close();
  });
  const bytes = Buffer.from(memory.view(0, 65536));
  const push = (slot: number, at: number, length: number): void => {
    const address = memory.address + at;
    table.push(slot, address | 0, (address / 2 ** 32) | 0, length);
  };
  return { path, io: new SyncFileIo(fd, table), fd, table, bytes, push, address: memory.address };
}

test('reads and writes one piece', (t) => {
  const { path, io, bytes, push } = setUp(t, 'abcdefgh');
  push(0, 100, 3);
  assert.equal(io.readv(0, 2, 0), 3);
  assert.equal(bytes.toString('latin1', 99, 104), '\0cde\0');
  bytes.write('XYZ', 200);
  push(1, 200, 3);
  assert.equal(io.writev(1, 5, 0, 0), 3);
  assert.equal(readFileSync(path, 'latin1'), 'abcdeXYZ');
});

test('reads and writes many pieces, in the order of the list', (t) => {
  const { path, io, bytes, push } = setUp(t, 'abcdefgh');
  for (const [at, length] of [
    [30, 1],
    [10, 3],
    [20, 2],
  ]) {
    push(0, at, length);
  }
  assert.equal(io.readv(0, 1, 0), 6);
  assert.equal(bytes[30], 'b'.charCodeAt(0));
  assert.equal(bytes.toString('latin1', 10, 13), 'cde');
  assert.equal(bytes.toString('latin1', 20, 22), 'fg');
  bytes.write('1234', 0);
  push(1, 2, 2);
  push(1, 0, 2);
  assert.equal(io.writev(1, 7, 0, 0), 4);
  assert.equal(readFileSync(path, 'latin1'), 'abcdefg3412');
});

test('a list that was advanced goes on where it stopped', (t) => {
  const { io, table, bytes, push } = setUp(t, 'abcdefgh');
  push(0, 0, 4);
  push(0, 10, 4);
  table.advance(0, 1);
  assert.equal(io.readv(0, 5, 0), 3, 'short at the end of file');
  table.advance(0, 3);
  assert.equal(io.readv(0, 0, 0), 4);
  assert.equal(bytes.toString('latin1', 0, 14), '\0fgh\0\0\0\0\0\0abcd');
  assert.equal(io.readv(0, 8, 0), 0, 'nothing at the end of file');
});

test('offsets beyond 4 GiB', (t) => {
  const { path, io, bytes, push } = setUp(t, '');
  bytes.write('far');
  push(0, 0, 3);
  assert.equal(io.writev(0, -4096, 5, 0), 3);
  assert.equal(statSync(path).size, 6 * 2 ** 32 - 4096 + 3);
  push(1, 500, 3);
  assert.equal(io.readv(1, -4096, 5), 3);
  assert.equal(bytes.toString('latin1', 500, 503), 'far');
});

test('a stable write takes one piece and many', (t) => {
  const { path, io, bytes, push } = setUp(t, '........');
  bytes.write('abc');
  push(0, 0, 3);
  push(1, 0, 1);
  push(1, 2, 1);
  assert.equal(io.writev(0, 0, 0, ReadWriteFlag.DSYNC), 3);
  assert.equal(io.writev(1, 5, 0, ReadWriteFlag.DSYNC), 2);
  assert.equal(readFileSync(path, 'latin1'), 'abc..ac.');
  // A flag that the kernel doesn't know shows that flags get there.
  push(2, 0, 1);
  assert.equal(io.writev(2, 0, 0, 1 << 30), -Errno.EOPNOTSUPP);
});

test('syncs, allocates and punches', (t) => {
  const { path, io } = setUp(t, 'x'.repeat(8192));
  assert.equal(io.fdatasync(0), 0);
  assert.equal(io.fallocate(0, 0, 8192, 8192), 0);
  assert.equal(statSync(path).size, 16384);
  assert.equal(io.fallocate(0, Fallocate.PUNCH_HOLE | Fallocate.KEEP_SIZE, 0, 4096), 0);
  assert.ok(
    readFileSync(path)
      .subarray(0, 4096)
      .every((byte) => byte === 0),
  );
  assert.equal(readFileSync(path)[4096], 'x'.charCodeAt(0));
});

test('errors are negative errno numbers', (t) => {
  const { io, table, push } = setUp(t, 'abc', 'r');
  push(0, 0, 1);
  push(1, 0, 1);
  push(1, 5, 1);
  assert.equal(io.writev(0, 0, 0, 0), -Errno.EBADF);
  assert.equal(io.writev(1, 0, 0, 0), -Errno.EBADF);
  assert.equal(io.writev(1, 0, 0, ReadWriteFlag.DSYNC), -Errno.EBADF);
  assert.equal(io.fallocate(0, 0, 0, 1), -Errno.EBADF);
  assert.equal(io.readv(0, 0, -1), -Errno.EINVAL, 'a negative offset');
  const gone = new SyncFileIo(1_000_000, table);
  assert.equal(gone.readv(0, 0, 0), -Errno.EBADF);
  assert.equal(gone.fdatasync(0), -Errno.EBADF);
});

test('memory that is not there is EFAULT, one piece or many', (t) => {
  const { io, table } = setUp(t, 'abc');
  const unmapped = 4096;
  table.push(0, unmapped, 0, 1);
  table.push(1, unmapped, 0, 1);
  table.push(1, unmapped, 0, 1);
  assert.equal(io.readv(0, 0, 0), -Errno.EFAULT);
  assert.equal(io.writev(1, 0, 0, 0), -Errno.EFAULT);
});

test('whole transfers stop early only at the end of file', (t) => {
  const { path, fd, bytes, address } = setUp(t, 'abcdef');
  assert.equal(readAt(fd, address, 4, 1), 4);
  assert.equal(bytes.toString('latin1', 0, 4), 'bcde');
  assert.equal(readAt(fd, address, 100, 4), 2);
  assert.equal(readAt(fd, address, 100, 6), 0);
  bytes.write('12345');
  assert.equal(writeAt(fd, address, 5, 3), 5);
  assert.equal(readFileSync(path, 'latin1'), 'abc12345');
  assert.equal(readAt(1_000_000, address, 1, 0), -Errno.EBADF);
  assert.equal(writeAt(fd, 4096, 1, 0), -Errno.EFAULT);
});
