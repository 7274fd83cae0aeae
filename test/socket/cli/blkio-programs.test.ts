/** What the blkio programs have in common: help, version, and an engine that does not exist. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCli } from '../../support/cli-run.ts';

const COMMAND_LINES: Readonly<Record<string, readonly string[]>> = {
  'blkio-info': ['io_uring', 'path=x', 'capacity'],
  'blkio-bench': ['io_uring', 'path=x'],
  'blkio-copy': ['--input-file=x', '--output-file=y'],
};

for (const [name, args] of Object.entries(COMMAND_LINES)) {
  test(`${name}: help and version`, () => {
    const help = runCli(name, ['--help']);
    assert.deepEqual([help.code, help.stderr], [0, '']);
    assert.match(help.stdout, new RegExp(`^Usage: ${name} `));
    const version = runCli(name, ['--version']);
    assert.equal(version.code, 0);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test(`${name}: an engine from the environment that does not exist`, () => {
    const { code, stderr } = runCli(name, args, { VHOSTKIT_ENGINE: 'kqueue' });
    assert.match(stderr, new RegExp(`^${name}: VHOSTKIT_ENGINE=kqueue: [^\\n]+\n$`));
    assert.equal(code, 2);
  });
}

test('blkio-bench says what becomes of threads', () => {
  const { stdout } = runCli('blkio-bench', ['--help']);
  assert.match(stdout, /All threads use one device/);
});
