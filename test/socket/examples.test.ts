/** The examples, as people use them: served by the program, used over vhost-user. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AsyncQueue } from '../../src/blkio/index.ts';
import { file, formatLuks } from '../../src/index.ts';
import { startedDevice } from '../support/client-device.ts';
import { imageFolder } from '../support/image-folder.ts';
import { untilListening } from '../support/listening-program.ts';
import { readBytes, withProgramDisk } from '../support/program-disk.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { noBusybox, startWebServer } from '../support/web-server.ts';

const KIB = 1024;
const MIB = KIB * KIB;

/** Whether this Node.js has TypeScript, and SQLite. */
const [major, minor] = process.versions.node.split('.').map(Number);
const loadsTypeScript = major > 22 || (major === 22 && minor >= 18);

/** Where an example is: as it is written, where that can be loaded. */
function example(name: string): string {
  const built = new URL(`../../examples/${name}.js`, import.meta.url);
  const written = new URL(`../../../examples/${name}.ts`, import.meta.url);
  return fileURLToPath(loadsTypeScript ? written : built);
}

test('tee-disk: both disks have it, and one of them is enough to read', async (t) => {
  const folder = imageFolder(t);
  const [first, second] = [join(folder, 'a.img'), join(folder, 'b.img')];
  for (const path of [first, second]) writeFileSync(path, Buffer.alloc(MIB));
  const disk = `${example('tee-disk')}(file(${first}), file(${second}))`;
  const data = patternBytes(64 * KIB);
  await withProgramDisk(folder, disk, async (queue) => {
    await queue.write(128 * KIB, data);
    await queue.writeZeroes(128 * KIB, 4 * KIB);
    await queue.flush();
  });
  data.fill(0, 0, 4 * KIB);
  for (const path of [first, second]) {
    const written = readFileSync(path).subarray(128 * KIB, 192 * KIB);
    assert.deepEqual(new Uint8Array(written), data, path);
  }
  const end = await withProgramDisk(folder, disk, async (queue) => {
    truncateSync(first, 64 * KIB);
    assert.deepEqual(await readBytes(queue, 128 * KIB, 64 * KIB), data);
  });
  assert.match(end.stderr, /the first disk fails at 131072, the second answers/);
});

test('flaky-disk: what is asked to fail fails, what is not works', async (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'disk.img');
  writeFileSync(path, Buffer.alloc(MIB));
  const flaky = `${example('flaky-disk')}(file(${path})`;
  const data = patternBytes(4 * KIB);
  await withProgramDisk(folder, `${flaky}, errors=1)`, async (queue) => {
    await assert.rejects(queue.write(0, data), /i\/o error/);
    await assert.rejects(readBytes(queue, 0, 512), /i\/o error/);
  });
  await withProgramDisk(folder, `${flaky})`, async (queue) => {
    await queue.write(0, data);
    assert.deepEqual(await readBytes(queue, 0, data.length), data);
  });
  assert.ok(
    readFileSync(path).every((byte) => byte === 0),
    'it was never flushed',
  );
});

test('flaky-disk: a loss of power takes what was not flushed', async (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'disk.img');
  writeFileSync(path, Buffer.alloc(MIB));
  const disk = `${example('flaky-disk')}(file(${path}), power-loss-after=2)`;
  const data = patternBytes(4 * KIB);
  await withProgramDisk(folder, disk, async (queue) => {
    await queue.write(0, data);
    await queue.flush();
    await queue.write(64 * KIB, data);
    await assert.rejects(queue.write(128 * KIB, data), /i\/o error/);
    await assert.rejects(queue.flush(), /i\/o error/);
  });
  const image = readFileSync(path);
  assert.deepEqual(new Uint8Array(image.subarray(0, data.length)), data);
  assert.ok(image.subarray(data.length).every((byte) => byte === 0));
});

test('time-travel-disk: the disk as it was', async (t) => {
  const folder = imageFolder(t);
  const log = join(folder, 'disk.log');
  const disk = `${example('time-travel-disk')},log=${log}`;
  const [before, after] = [patternBytes(8 * KIB), patternBytes(4 * KIB).map((byte) => ~byte)];
  let moment = '';
  await withProgramDisk(folder, `${disk},size-mib=16`, async (queue) => {
    await queue.write(MIB, before);
    await sleep(20);
    moment = new Date().toISOString();
    await sleep(20);
    await queue.write(MIB + 2 * KIB, after);
    await queue.flush();
  });
  const now = before.slice();
  now.set(after, 2 * KIB);
  // A crash in the middle of a record.
  const { size } = statSync(log);
  appendFileSync(log, readFileSync(log).subarray(0, 20));
  await withProgramDisk(folder, disk, async (queue) => {
    assert.deepEqual(await readBytes(queue, MIB, 8 * KIB), now);
  });
  assert.equal(statSync(log).size, size);
  const isReadOnly = true;
  const showsBefore = async (queue: AsyncQueue): Promise<void> => {
    assert.deepEqual(await readBytes(queue, MIB, 8 * KIB), before);
  };
  await withProgramDisk(folder, `${disk},at=${moment}`, showsBefore, isReadOnly);
});

test('encrypted-overlay: nobody but the guest has it in the clear', {
  skip: noBusybox(),
}, async (t) => {
  const folder = imageFolder(t);
  const [image, overlay, key] = ['disk.luks', 'overlay.cow', 'key'].map((name) =>
    join(folder, name),
  );
  const passphrase = 'an example';
  writeFileSync(key, passphrase);
  writeFileSync(image, '');
  truncateSync(image, 24 * MIB);
  await formatLuks(file(image), { version: 2, passphrase, iterations: 1000, pbkdf: 'pbkdf2' });
  const url = await startWebServer(t, 'busybox', folder);
  const before = readFileSync(image);
  const data = new Uint8Array(64 * KIB).fill('this is secret'.charCodeAt(0));
  const run = async (use: (queue: AsyncQueue) => Promise<void>): Promise<void> => {
    const socketPath = join(folder, 'disk.sock');
    const args = [example('encrypted-overlay'), `${url}/disk.luks`, overlay, key, socketPath];
    const program = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(program, 'exit');
    await untilListening(socketPath);
    const { device, queue } = await startedDevice(socketPath);
    await use(queue).finally(() => device[Symbol.dispose]());
    program.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  };
  await run(async (queue) => {
    await queue.write(MIB, data);
    await queue.flush();
  });
  await run(async (queue) => assert.deepEqual(await readBytes(queue, MIB, data.length), data));
  assert.deepEqual(readFileSync(image), before, 'the image is as it was');
  const kept = readFileSync(overlay);
  assert.ok(kept.length >= data.length, 'the overlay has it');
  assert.ok(!kept.includes(Buffer.from(data.subarray(0, 64))), 'and not in the clear');
});

if (loadsTypeScript) {
  test('sqlite-disk: blocks are in the database', async (t) => {
    const folder = imageFolder(t);
    const file = join(folder, 'disk.sqlite');
    const disk = `${example('sqlite-disk')},file=${file},size-mib=16`;
    const data = patternBytes(64 * KIB);
    await withProgramDisk(folder, disk, async (queue) => {
      await queue.write(MIB, data);
      await queue.flush();
    });
    await withProgramDisk(folder, disk, async (queue) => {
      assert.deepEqual(await readBytes(queue, MIB, data.length), data);
      await queue.discard(MIB, 32 * KIB);
      assert.ok((await readBytes(queue, MIB, 32 * KIB)).every((byte) => byte === 0));
      assert.deepEqual(await readBytes(queue, MIB + 32 * KIB, 32 * KIB), data.slice(32 * KIB));
    });
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(file);
    const counted = database.prepare('SELECT count(*) AS blocks FROM block').get();
    assert.equal(counted?.blocks, 8);
    database.close();
  });
}
