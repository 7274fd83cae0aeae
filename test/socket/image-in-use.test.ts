/** An image that is in use when a server starts: for a moment, or for good. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServedDisk } from '../support/served-disk.ts';
import { ServerProgram } from '../support/server-program.ts';

/** Well within the time for which a server waits. */
const MOMENT_MS = 300;

test('a server waits a moment for its image', async () => {
  await using disk = await ServedDisk.start();
  const args = [`--socket-path=${disk.socketPath}-2`, `--blk-file=${disk.imagePath}`];
  await using second = new ServerProgram(args);
  await sleep(MOMENT_MS);
  assert.equal(second.end, undefined, 'it has not given up');
  await disk.server.stop();
  await second.logged(/listening at /);
});

test('but no longer than that', async () => {
  await using disk = await ServedDisk.start();
  const args = [`--socket-path=${disk.socketPath}-2`, `--blk-file=${disk.imagePath}`];
  await using second = new ServerProgram(args);
  const { code, stderr } = await second.ended;
  assert.equal(code, 1);
  assert.match(stderr, /^vhost-user-blk: .* is in use: .*\n$/);
});
