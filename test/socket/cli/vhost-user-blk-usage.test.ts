/** How vhost-user-blk ends when it does not serve: its exit code and one clear line. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { runCli } from '../../support/cli-run.ts';

const PACKAGE = new URL('../../../../package.json', import.meta.url);
const NULL_DISK = ['--disk', 'null,size=1M'];

const WRONG: readonly (readonly [name: string, args: readonly string[], reason: RegExp])[] = [
  ['nothing', [], /give either --socket-path or --fd/],
  ['a value out of bounds', ['--num-queues', '0'], /'--num-queues <n>' .* from 1 to 256/],
  ['a value with a line break', ['--disk', 'null,size=1\n2'], /size is "1 2": expected/],
  ['an option that does not exist', ['--frobnicate'], /unknown option '--frobnicate'/],
  ['two disks', ['-s', 'x', '-b', 'y', ...NULL_DISK], /give either --blk-file or --disk/],
  ['an empty socket path', ['-s', '', ...NULL_DISK], /must be a path/],
];

for (const [name, args, reason] of WRONG) {
  test(`${name} on the command line: exit code 2 and one line`, () => {
    const { code, stdout, stderr } = runCli('vhost-user-blk', args);
    assert.match(stderr, /^vhost-user-blk: [^\n]+ \(see --help\)\n$/);
    assert.match(stderr, reason);
    assert.deepEqual([code, stdout], [2, '']);
  });
}

test('an engine from the environment that does not exist: exit code 2 and one line', () => {
  const args = ['-s', 'x', ...NULL_DISK];
  const { code, stderr } = runCli('vhost-user-blk', args, { VHOSTKIT_ENGINE: 'kqueue' });
  assert.match(stderr, /^vhost-user-blk: VHOSTKIT_ENGINE=kqueue: [^\n]+\n$/);
  assert.equal(code, 2);
});

const UNFIT: readonly (readonly [name: string, args: readonly string[], reason: RegExp])[] = [
  ['an image that is not there', ['-s', 'x', '-b', '/nonexistent/image'], /no such file/],
  ['a folder as an image', ['-s', 'x', '-b', '/'], /it is a directory/],
  ['a socket in no folder', ['-s', '/nonexistent/socket', ...NULL_DISK], /cannot listen at/],
  [
    'a long socket path',
    ['-s', `/tmp/${'x'.repeat(120)}`, ...NULL_DISK],
    /socket path of 125 bytes, at most 107 fit/,
  ],
  ['a descriptor that is no socket', ['--fd', '0', ...NULL_DISK], /descriptor 0 is no/],
];

for (const [name, args, reason] of UNFIT) {
  test(`${name}: exit code 1 and one line`, () => {
    const { code, stdout, stderr } = runCli('vhost-user-blk', args);
    assert.match(stderr, /^vhost-user-blk: [^\n]+\n$/);
    assert.match(stderr, reason);
    assert.deepEqual([code, stdout], [1, '']);
  });
}

test('--version prints the version of the package', () => {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
  const run = runCli('vhost-user-blk', ['--version']);
  assert.deepEqual(run, { code: 0, stdout: `${version}\n`, stderr: '' });
});

test('--help names every option', () => {
  for (const form of ['-h', '--help']) {
    const { code, stdout, stderr } = runCli('vhost-user-blk', [form]);
    assert.deepEqual([code, stderr], [0, '']);
    for (const option of ['-s, --socket-path', '-f, --fd', '-b, --blk-file', '-r, --read-only']) {
      assert.ok(stdout.includes(option), option);
    }
  }
});

test('--print-capabilities prints JSON, whatever else is asked for', () => {
  for (const args of [['-c'], ['--print-capabilities'], ['--frobnicate', '-c', '--fd', 'x']]) {
    const { code, stdout, stderr } = runCli('vhost-user-blk', args);
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(JSON.parse(stdout), { type: 'block', features: ['read-only', 'blk-file'] });
  }
});
