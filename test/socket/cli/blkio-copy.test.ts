/** blkio-copy between files and served disks: data, holes, sizes, verification, errors. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '../../support/blkio-programs.ts';
import { assertSameBytes, patternBytes } from '../../support/request-bytes.ts';
import { ServedDisk, writeFileAt } from '../../support/served-disk.ts';

const MIB = 1024 * 1024;
const SIZE_BYTES = 16 * MIB;

/** A file with 1 MiB of data at 3 MiB and some at its end. */
function makeSparse(path: string, sizeBytes = SIZE_BYTES): void {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  writeFileAt(path, 3 * MIB + 512, patternBytes(MIB, 1));
  writeFileAt(path, sizeBytes - 700, patternBytes(700, 2));
}

function allocatedBytes(path: string): number {
  return statSync(path).blocks * 512;
}

async function copy(...args: readonly string[]): Promise<void> {
  const run = await runProgram('blkio-copy', ...args);
  assert.deepEqual(run, { code: 0, stdout: '', stderr: '' });
}

function assertCopied(from: string, to: string): void {
  assertSameBytes(readFileSync(to), readFileSync(from), to);
  assert(allocatedBytes(to) < 3 * MIB, `${to} takes ${allocatedBytes(to)} bytes`);
}

test('a sparse file becomes another one, to the byte', async () => {
  await using disk = await ServedDisk.start();
  const [from, to, again] = ['from', 'to', 'again'].map((name) => join(disk.folder, name));
  makeSparse(from, SIZE_BYTES + 123);
  await copy(`--input-file=${from}`, `--output-file=${to}`, '--verify');
  assertCopied(from, to);
  writeFileSync(again, '');
  await copy('--input-blkio=io_uring', `path=${from}`, `--output-file=${again}`);
  assertCopied(from, again);
});

test('old data gives way to holes, and what is behind the input stays', async () => {
  await using disk = await ServedDisk.start();
  const [from, to] = ['from', 'to'].map((name) => join(disk.folder, name));
  makeSparse(from);
  const tail = patternBytes(MIB, 3);
  writeFileSync(to, patternBytes(SIZE_BYTES, 4));
  writeFileAt(to, SIZE_BYTES, tail);
  await copy(`--input-file=${from}`, `--output-blkio=io_uring,path=${to}`, '--verify');
  const bytes = readFileSync(to);
  assertSameBytes(bytes.subarray(0, SIZE_BYTES), readFileSync(from), 'what was copied');
  assertSameBytes(bytes.subarray(SIZE_BYTES), tail, 'what is behind it');
  assert(allocatedBytes(to) < 4 * MIB);
});

test('a smaller file grows, by itself or by being written to', async () => {
  await using disk = await ServedDisk.start();
  const [from, to] = ['from', 'to'].map((name) => join(disk.folder, name));
  makeSparse(from);
  truncateSync(from, SIZE_BYTES + MIB);
  for (const output of [`--output-file=${to}`, `--output-blkio=io_uring,path=${to}`]) {
    writeFileSync(to, patternBytes(2 * MIB));
    await copy(`--input-file=${from}`, output, '--verify');
    assertCopied(from, to);
  }
});

test('a served disk is copied to and from; its zeros become holes', async () => {
  await using disk = await ServedDisk.start({ content: patternBytes(SIZE_BYTES, 5) });
  const [from, back] = ['from', 'back'].map((name) => join(disk.folder, name));
  makeSparse(from);
  const socket = `path=${disk.socketPath}`;
  await copy(`--input-file=${from}`, '--output-blkio=virtio-blk-vhost-user', socket, '--verify');
  assertSameBytes(disk.readImage(), readFileSync(from), 'the image');
  assert(disk.allocatedBytes < 3 * MIB);
  await copy('--input-blkio=virtio-blk-vhost-user', socket, `--output-file=${back}`, '--verify');
  assertCopied(from, back);
});

test('an input that ends within a block is padded with zeros', async () => {
  await using disk = await ServedDisk.start({ content: patternBytes(MIB, 6) });
  const from = join(disk.folder, 'from');
  writeFileSync(from, patternBytes(1000, 7));
  const device = `virtio-blk-vhost-user,path=${disk.socketPath}`;
  await copy(`--input-file=${from}`, `--output-blkio=${device}`, '--verify');
  assertSameBytes(disk.readImage(0, 1000), patternBytes(1000, 7), 'data');
  assertSameBytes(disk.readImage(1000, 24), new Uint8Array(24), 'padding');
  assertSameBytes(disk.readImage(1024), patternBytes(MIB, 6).subarray(1024), 'the rest');
});

test('--target-is-zero leaves alone what is zero in the input', async () => {
  await using disk = await ServedDisk.start({ content: patternBytes(SIZE_BYTES, 8) });
  const from = join(disk.folder, 'from');
  makeSparse(from);
  const device = `virtio-blk-vhost-user,path=${disk.socketPath}`;
  await copy(`--input-file=${from}`, `--output-blkio=${device}`, '--target-is-zero');
  assertSameBytes(disk.readImage(0, MIB), patternBytes(SIZE_BYTES, 8).subarray(0, MIB), 'zeros');
});

test('--verify finds the first byte that differs', async () => {
  // A disk that forgets what is written.
  await using disk = await ServedDisk.start({ args: ['--disk=null,size=16M'] });
  const from = join(disk.folder, 'from');
  makeSparse(from);
  const device = `virtio-blk-vhost-user,path=${disk.socketPath}`;
  const args = [`--input-file=${from}`, `--output-blkio=${device}`];
  await copy(...args);
  const run = await runProgram('blkio-copy', ...args, '--verify');
  assert.match(run.stderr, /^blkio-copy: verification failed: byte 3146240 of \S+ differs/);
  assert.equal(run.code, 1);
});

test('--progress on says how far it is', async () => {
  await using disk = await ServedDisk.start();
  const [from, to] = ['from', 'to'].map((name) => join(disk.folder, name));
  makeSparse(from);
  const files = [`--input-file=${from}`, `--output-file=${to}`];
  const { stderr } = await runProgram('blkio-copy', ...files, '--progress=on', '--verify');
  assert.match(stderr, /copied 100 %, 16.0 MiB of 16.0 MiB, .*\/s, 0:00 left\n/);
  assert.match(stderr, /verified 100 %, .*\n$/);
});

test('what is wrong is one line, and the exit code says whose fault it is', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: MIB });
  const [from, to] = ['from', 'to'].map((name) => join(disk.folder, name));
  makeSparse(from);
  const input = `--input-file=${from}`;
  const served = `--output-blkio=virtio-blk-vhost-user,path=${disk.socketPath}`;
  const cases: readonly (readonly [code: number, reason: RegExp, args: readonly string[]])[] = [
    [2, /give either --input-blkio or --input-file/, []],
    [2, /unknown driver "nvme"/, ['--input-blkio=nvme', `--output-file=${to}`]],
    [2, /unknown property "color"/, [input, `${served},color=red`]],
    [1, /has 1048576 bytes and cannot grow: the input has 16777216/, [input, served]],
    [1, /no such file/, [`--input-file=${from}.not`, `--output-file=${to}`]],
    [1, /cannot make .*no such file/, [input, `--output-file=${to}/x`]],
    [1, /in use/, [input, `--output-file=${from}`]],
    [1, /in use/, [input, `--output-file=${disk.imagePath}`]],
  ];
  for (const [code, reason, args] of cases) {
    const run = await runProgram('blkio-copy', ...args);
    assert.match(run.stderr, /^blkio-copy: [^\n]+\n$/);
    assert.match(run.stderr, reason);
    assert.deepEqual([run.code, run.stdout], [code, ''], args.join(' '));
  }
  assert(!existsSync(to), 'an input that cannot be read leaves no output');
});
