/** `--take-over`: a new server takes the place of one that serves, and its client goes on. */
import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { listenUnix } from '../../src/sys/index.ts';
import { bounded, vhostUserDevice } from '../support/client-device.ts';
import { ClientLoad } from '../support/client-load.ts';
import { eventually } from '../support/eventually.ts';
import { imageFolder } from '../support/image-folder.ts';
import { PauseMeter } from '../support/pause-meter.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { RestartingServer } from '../support/restarting-server.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';
import { runServerProgram, ServerProgram } from '../support/server-program.ts';

const UPGRADES = 5;
const LANES = 32;
const SIZE_BYTES = 4 * 1024 * 1024;

/** Through upgrades, each with more options of the new server. */
async function loadThrough(
  server: RestartingServer,
  upgrades: readonly (readonly string[])[],
): Promise<{ readonly pauses: readonly number[]; readonly letGo: readonly string[] }> {
  using device = vhostUserDevice(server.socketPath, { 'reconnect-ms': 1 });
  await device.connect();
  device.set('num-queues', 2);
  await device.start();
  const load = new ClientLoad([device.asyncQueue(0), device.asyncQueue(1)], SIZE_BYTES, LANES);
  using meter = new PauseMeter(() => load.done);
  const pauses: number[] = [];
  const letGo: string[] = [];
  for (const args of upgrades) {
    const before = load.done;
    await eventually('requests are done', () => load.done > before + LANES);
    meter.take();
    const next = await server.upgrade(args);
    const [, ms] = await next.logged(/has let go after (\d+) ms/);
    letGo.push(ms);
    await next.logged(/client 1 connected/);
    const after = load.done;
    await eventually('requests are done', () => load.done > after + LANES);
    pauses.push(meter.take());
  }
  const model = await bounded(load.stop());
  assertSameBytes(server.readImage(), model, 'the disk');
  return { pauses, letGo };
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`upgrades under load, ${engine}`, { skip }, () => {
    const args = [`--engine=${engine}`, '--num-queues=2', '--threads=2'];

    test('every request completes once, and the disk holds what was acknowledged', async (t) => {
      await using server = await RestartingServer.start(SIZE_BYTES, args);
      const upgrades = Array<readonly string[]>(UPGRADES).fill([]);
      const { pauses, letGo } = await loadThrough(server, upgrades);
      const text = pauses.map((ms) => ms.toFixed()).join(' ');
      t.diagnostic(`pauses: ${text} ms, of which the old server took ${letGo.join(' ')} ms`);
    });

    test('from and to a server with --isolate', async () => {
      await using server = await RestartingServer.start(SIZE_BYTES, args);
      await loadThrough(server, [['--isolate'], ['--isolate'], []]);
    });

    test('without locks, and with those that are taken while rings run', async () => {
      await using server = await RestartingServer.start(SIZE_BYTES, [...args, '--locking=off']);
      await loadThrough(server, [[], []]);
      const running = [...args, '--locking=while-running'];
      await using other = await RestartingServer.start(SIZE_BYTES, running);
      await loadThrough(other, [[], []]);
    });
  });
}

test('the path is there all the time, and the new server removes it in the end', async () => {
  await using disk = await ServedDisk.start();
  let looks = 0;
  let isWatching = true;
  const watching = (async () => {
    while (isWatching) {
      assert.ok(lstatSync(disk.socketPath).isSocket());
      looks += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const place = [`-s${disk.socketPath}`, `-b${disk.imagePath}`];
  await using next = await ServerProgram.ready([...place, '--take-over', '--sandbox=on']);
  assert.equal((await disk.server.ended).code, 0);
  isWatching = false;
  await watching;
  assert.ok(looks > 10);
  assert.deepEqual(readdirSync(disk.folder).sort(), ['image', 'socket']);
  await (await disk.connect()).read(0, 1);
  assert.equal((await next.stop()).code, 0);
  assert.deepEqual(readdirSync(disk.folder), ['image']);
});

test('a server that does not end keeps its place', async () => {
  await using disk = await ServedDisk.start();
  const driver = await disk.connect();
  await driver.write(0, patternBytes(512));
  const before = lstatSync(disk.socketPath).ino;
  process.kill(disk.server.pid, 'SIGSTOP');
  const args = [`-s${disk.socketPath}`, `-b${disk.imagePath}`, '--take-over'];
  const { code, stderr } = await runServerProgram(args);
  const after = lstatSync(disk.socketPath).ino;
  const left = readdirSync(disk.folder).sort();
  process.kill(disk.server.pid, 'SIGCONT');
  assert.equal(code, 1);
  const last = stderr.trim().split('\n').at(-1) ?? '';
  assert.match(last, /^vhost-user-blk: .* has not ended within 3000 ms .*; it keeps its place$/);
  assert.equal(after, before);
  assert.deepEqual(left, ['image', 'socket']);
  // What it was told it does as soon as it can.
  assert.equal((await disk.server.ended).code, 0);
  assert.ok(!existsSync(disk.socketPath));
});

test('whoever else listens at the path is left alone', async (t) => {
  const folder = imageFolder(t);
  const [image, other] = [join(folder, 'image'), join(folder, 'other')];
  writeFileSync(image, new Uint8Array(SIZE_BYTES));
  writeFileSync(other, new Uint8Array(SIZE_BYTES));
  const path = join(folder, 'socket');
  const refusal = async (source: string): Promise<string> => {
    const { code, stderr } = await runServerProgram([`-s${path}`, source, '--take-over']);
    assert.equal(code, 1);
    assert.ok(lstatSync(path));
    return stderr;
  };
  {
    using _listener = listenUnix(path, 4);
    assert.match(await refusal(`-b${image}`), /: cannot take over .*, is no vhost-user-blk \(/);
  }
  // What a server that was killed has left is nobody's place.
  const place = [`-s${path}`, '--take-over'];
  await using server = await ServerProgram.ready([...place, `-b${image}`]);
  assert.match(server.stderr, /warn {2}nobody listens at .*: there is no place to take over/);
  assert.match(await refusal(`-b${other}`), /: cannot take over .* serves another disk\n/);
  assert.match(await refusal('--disk=null,size=1M'), /: cannot take over .* serves another disk\n/);
  assert.match(await refusal(`-b${folder}/none`), /: cannot open /);
  assert.equal(server.end, undefined);
  assert.equal((await server.stop()).code, 0);
  writeFileSync(path, '');
  assert.match(await refusal(`-b${image}`), /exists and is no socket: it is left alone/);
});
