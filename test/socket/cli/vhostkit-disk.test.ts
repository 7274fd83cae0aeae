/** The program vhostkit-disk, as people run it. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openAccess, openDisk, parseDisk } from '../../../src/storage/index.ts';
import { runCli } from '../../support/cli-run.ts';
import { imageFolder } from '../../support/image-folder.ts';

const SIZE_BYTES = 2 ** 20;

function image(t: TestContext): string {
  const path = join(imageFolder(t), 'disk.img');
  writeFileSync(path, Buffer.alloc(SIZE_BYTES, 1));
  return path;
}

async function write(text: string): Promise<void> {
  const disk = await openDisk(parseDisk(text));
  const access = openAccess(disk);
  await access.write(Buffer.alloc(8192, 9), 4096);
  await access.flush();
  access.close();
  await disk.close();
}

test('commit: what serves a disk commits it', async (t) => {
  const path = image(t);
  const text = `copy-on-write(file(${path}), overlay=${path}.cow, block=4096)`;
  await write(text);
  assert.ok(readFileSync(path).every((byte) => byte === 1));
  const run = runCli('vhostkit-disk', ['commit', text]);
  assert.deepEqual(run, {
    code: 0,
    stdout: '8.0 KiB written to the disk below, the overlay is empty\n',
    stderr: '',
  });
  const expected = Buffer.alloc(SIZE_BYTES, 1).fill(9, 4096, 12288);
  assert.ok(readFileSync(path).equals(expected));
  assert.match(runCli('vhostkit-disk', ['commit', text]).stdout, /^0 bytes written/);
});

test('scan: says what is corrupt, by its exit code too', async (t) => {
  const path = image(t);
  const text = `checksum(file(${path}), file=${path}.sums)`;
  const well = runCli('vhostkit-disk', ['scan', text]);
  assert.deepEqual(well, {
    code: 0,
    stdout: '0 blocks are corrupt or cannot be read\n',
    stderr: '',
  });
  writeFileSync(path, readFileSync(path).fill(2, 5000, 5001));
  const { code, stdout, stderr } = runCli('vhostkit-disk', ['scan', text]);
  assert.match(stdout, /^4096 bytes at offset 4096 are corrupt$/m);
  assert.match(stdout, /^1 blocks are corrupt or cannot be read$/m);
  assert.equal(stderr, '');
  assert.equal(code, 1);
});

test('replay: does a trace again, and needs leave to write', async (t) => {
  const path = image(t);
  await write(`log(file(${path}), file=${path}.trace, format=json)`);
  const before = readFileSync(path);
  const refused = runCli('vhostkit-disk', ['replay', `${path}.trace`, `file(${path})`]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^vhostkit-disk: trace \S+: it writes, .*\n$/);
  assert.ok(readFileSync(path).equals(before));
  const run = runCli('vhostkit-disk', ['replay', `${path}.trace`, `file(${path})`, '--write']);
  assert.equal(run.stderr, '');
  assert.equal(run.code, 0);
  assert.match(run.stdout, /^2 requests, 0 missing in the trace\nnow: .* us\ntrace: .* us\n/);
  assert.match(run.stdout, /^0 have ended otherwise than in the trace\n$/m);
  assert.ok(!readFileSync(path).equals(before));
});

test('snapshot: takes, lists, rolls back and drops', async (t) => {
  const path = image(t);
  const text = `snapshot(file(${path}), file=${path}.snapshots, block=4096)`;
  const snapshot = (action: string, ...name: string[]) =>
    runCli('vhostkit-disk', ['snapshot', action, text, ...name]);
  const well = { code: 0, stdout: '', stderr: '' };
  assert.deepEqual(snapshot('list'), well);
  assert.deepEqual(snapshot('take', 'first'), well);
  await write(text);
  assert.deepEqual(snapshot('take', 'second'), well);
  assert.match(
    snapshot('list').stdout,
    /^first\t20\d\d-\d\d-\d\dT[\d:.]+Z\t8\.0 KiB\nsecond\t\S+\t0 bytes\n$/,
  );
  assert.deepEqual(snapshot('roll-back', 'first'), well);
  assert.ok(readFileSync(path).equals(Buffer.alloc(SIZE_BYTES, 1)));
  assert.deepEqual(snapshot('drop', 'first'), well);
  const again = snapshot('drop', 'first');
  assert.equal(again.code, 1);
  assert.match(again.stderr, /^vhostkit-disk: snapshot: there is no snapshot "first", .*\n$/);
  assert.deepEqual(snapshot('roll-back', 'second'), well);
  const expected = Buffer.alloc(SIZE_BYTES, 1).fill(9, 4096, 12288);
  assert.ok(readFileSync(path).equals(expected));
  const disk = await openDisk(parseDisk(text));
  const inUse = snapshot('take', 'third');
  await disk.close();
  assert.equal(inUse.code, 1);
  assert.match(inUse.stderr, /^vhostkit-disk: [^\n]*in use[^\n]*\n$/);
  assert.match(snapshot('list').stdout, /^second\t[^\n]*\n$/);
});

const WRONG: readonly [readonly string[], number, RegExp][] = [
  [[], 2, /give a command/],
  [['explode'], 2, /unknown command 'explode'/],
  [['commit'], 2, /missing required argument 'disk'/],
  [['commit', 'a', 'b'], 2, /too many arguments/],
  [['replay', 'a', 'b', '--pace=slow'], 2, /pace/],
  [['commit', 'nothing(x)'], 1, /unknown kind "nothing"/],
  [['commit', 'null(1M)'], 1, /null: expected copy-on-write\(\.\.\., overlay=<path>\) to commit/],
  [['snapshot'], 2, /snapshot: give a command: take,/],
  [['snapshot', 'explode'], 2, /unknown command 'explode'/],
  [['snapshot', 'take', 'null(1M)'], 2, /missing required argument 'name'/],
  [['snapshot', 'list', 'null(1M)', 'x'], 2, /too many arguments/],
  [['snapshot', 'take', 'null(1M)', 'x'], 1, /the disk has no snapshots/],
  [['scan', 'null(1M)'], 1, /the disk has no checksums/],
  [['replay', '/nowhere', 'null(1M)'], 1, /cannot read the trace \/nowhere/],
];

for (const [args, code, problem] of WRONG) {
  test(`"${args.join(' ')}" is refused with one line`, () => {
    const run = runCli('vhostkit-disk', args);
    assert.match(run.stderr, problem);
    assert.match(run.stderr, /^vhostkit-disk: [^\n]*\n$/);
    assert.equal(run.stdout, '');
    assert.equal(run.code, code);
  });
}

test('help is printed for each command', () => {
  for (const command of ['commit', 'scan', 'replay', 'snapshot']) {
    const { code, stdout } = runCli('vhostkit-disk', [command, '--help']);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^Usage: vhostkit-disk ${command} `));
  }
});
