/** An image that is in use when a server starts: for a moment, or for good. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { file, openDisk } from '../../src/storage/index.ts';
import { imageFolder } from '../support/image-folder.ts';
import { ServedDisk } from '../support/served-disk.ts';
import { ServerProgram } from '../support/server-program.ts';

/** Well within the time for which a server waits. */
const MOMENT_MS = 300;

test('a server waits a moment for its image', async (t) => {
  const folder = imageFolder(t);
  const image = join(folder, 'image');
  writeFileSync(image, new Uint8Array(4096));
  const user = await openDisk(file(image));
  await using server = new ServerProgram([`-s${folder}/socket`, `-b${image}`]);
  await sleep(MOMENT_MS);
  assert.equal(server.end, undefined, 'it has not given up');
  await user.close();
  await server.logged(/listening at /);
});

test('but no longer than that', async () => {
  await using disk = await ServedDisk.start();
  const args = [`--socket-path=${disk.socketPath}-2`, `--blk-file=${disk.imagePath}`];
  await using second = new ServerProgram(args);
  const { code, stderr } = await second.ended;
  assert.equal(code, 1);
  assert.match(stderr, /^vhost-user-blk: .* is in use: .*\n$/);
});
