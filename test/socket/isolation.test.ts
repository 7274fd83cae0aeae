/** `--isolate`: each client has a process of its own, and everything else is as without it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf } from '../../fuzz/process-facts.ts';
import { listenUnix } from '../../src/sys/index.ts';
import { nextEvent, startedDevice } from '../support/client-device.ts';
import { eventually } from '../support/eventually.ts';
import { imageFolder } from '../support/image-folder.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { DriverHost, SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';
import {
  FIRST_PASSED_FD,
  PATIENCE,
  runServerProgram,
  ServerProgram,
} from '../support/server-program.ts';
import { gone, preparedProcess, servingProcess } from '../support/serving-processes.ts';

const ARGS = ['--isolate', '--log-level=debug'];
const SIZE_BYTES = 1024 * 1024;
const CONTENT = patternBytes(SIZE_BYTES);

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`a process for each client, ${engine}`, { skip }, () => {
    test('a client has a process that ends with it, and the next one another', async () => {
      await using disk = await ServedDisk.start({ engine, args: ARGS, content: CONTENT });
      const pids: number[] = [];
      const open = disk.server.openFds().length;
      for (let client = 1; client <= 3; client++) {
        const driver = await disk.connect({ numQueues: 2 });
        assertSameBytes(await driver.read(8, 8), CONTENT.subarray(4096, 8192), 'data read');
        await driver.write((client + 1) * 8, patternBytes(4096, client), client % 2);
        const pid = await servingProcess(disk.server, client);
        assert.ok(childrenOf(disk.server.pid).includes(pid), 'it is the program’s child');
        pids.push(pid);
        driver.close();
        await gone(pid);
        await disk.server.logged(new RegExp(`client ${client} disconnected: reads 1`));
      }
      assert.equal(new Set(pids).size, 3);
      await eventually('the supervisor has let go of all', () => {
        return disk.server.openFds().length === open;
      });
      for (let client = 1; client <= 3; client++) {
        const written = disk.readImage((client + 1) * 4096, 4096);
        assertSameBytes(written, patternBytes(4096, client), `what client ${client} has written`);
      }
      assert.equal((await disk.server.stop()).code, 0);
      assert.ok(!existsSync(disk.socketPath));
      for (const pid of pids) await gone(pid);
    });

    test('clients are told of a new size, and the next one finds it', async () => {
      await using disk = await ServedDisk.start({ engine, args: ARGS, sizeBytes: SIZE_BYTES });
      {
        const { device } = await startedDevice(disk.socketPath);
        using _device = device;
        const told = nextEvent(device, 'config-change');
        truncateSync(disk.imagePath, 2 * SIZE_BYTES);
        process.kill(disk.server.pid, 'SIGHUP');
        await disk.server.logged(new RegExp(`info  SIGHUP: the disk has ${2 * SIZE_BYTES} bytes`));
        await told;
        assert.equal(device.capacityBytes, 2 * SIZE_BYTES);
      }
      const { device } = await startedDevice(disk.socketPath);
      assert.equal(device.capacityBytes, 2 * SIZE_BYTES);
      device[Symbol.dispose]();
    });
  });
}

test('a process is prepared while another serves, and its end has a new one prepared', async () => {
  await using disk = await ServedDisk.start({ args: ARGS });
  const prepared = childrenOf(disk.server.pid);
  assert.equal(prepared.length, 1);
  const driver = await disk.connect();
  await driver.read(0, 1);
  assert.equal(await servingProcess(disk.server, 1), prepared[0]);
  const spare = await preparedProcess(disk.server, prepared[0]);
  process.kill(spare, 'SIGKILL');
  await disk.server.logged(/process for the next client has been lost: SIGKILL: somebody/);
  await driver.read(0, 1);
  driver.close();
  await (await disk.connect()).read(0, 1);
  assert.ok(![spare, ...prepared].includes(await servingProcess(disk.server, 2)));
});

test('a client that comes as the prepared process is lost is served by the next one', async () => {
  await using disk = await ServedDisk.start({ args: ARGS, content: CONTENT });
  let serving = 0;
  for (let round = 1; round <= 8; round++) {
    const spare = await preparedProcess(disk.server, serving);
    // It sees both at once, in whichever order, or before all of the process is gone.
    process.kill(disk.server.pid, 'SIGSTOP');
    const connecting = disk.connect();
    process.kill(spare, 'SIGKILL');
    await gone(spare);
    process.kill(disk.server.pid, 'SIGCONT');
    const driver = await connecting;
    assertSameBytes(await driver.read(8, 8), CONTENT.subarray(4096, 8192), 'data read');
    const said = disk.server.stderr.matchAll(/is served by process (\d+)/g);
    serving = Number([...said].at(-1)?.[1]);
    driver.close();
    await disk.server.logged(new RegExp(`client ${round} disconnected`));
  }
});

test('a client that its process has heard is nobody else’s, however soon both have gone', async () => {
  await using disk = await ServedDisk.start({ args: ARGS });
  let serving = 0;
  for (let client = 1; client <= 8; client++) {
    const prepared = await preparedProcess(disk.server, serving);
    process.kill(prepared, 'SIGSTOP');
    const connecting = disk.connect();
    serving = await servingProcess(disk.server, client);
    assert.equal(serving, prepared);
    // It sees all that follows at once: its client was taken, and the process has ended.
    process.kill(disk.server.pid, 'SIGSTOP');
    process.kill(serving, 'SIGCONT');
    (await connecting).close();
    await gone(serving);
    process.kill(disk.server.pid, 'SIGCONT');
  }
  await (await disk.connect()).read(0, 1);
  const served = [...disk.server.stderr.matchAll(/client (\d+) is served by/g)];
  assert.deepEqual(
    served.map(([, client]) => Number(client)),
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
});

test('the image stays the one that was opened, and locked between clients', async () => {
  await using disk = await ServedDisk.start({ args: ARGS, content: CONTENT });
  const moved = `${disk.imagePath}.moved`;
  renameSync(disk.imagePath, moved);
  writeFileSync(disk.imagePath, new Uint8Array(SIZE_BYTES));
  for (let client = 1; client <= 2; client++) {
    const driver = await disk.connect();
    assertSameBytes(await driver.read(0, 8), CONTENT.subarray(0, 4096), 'data read');
    driver.close();
    await disk.server.logged(new RegExp(`client ${client} disconnected`));
    const args = [`-s${disk.folder}/other`, `-b${moved}`];
    const { code, stderr } = await runServerProgram(args);
    assert.equal(code, 1);
    assert.match(stderr, /is in use/);
  }
});

test('an image that is only read is served, to one client after the other', async () => {
  await using disk = await ServedDisk.start({ args: [...ARGS, '--read-only'], content: CONTENT });
  for (let client = 1; client <= 2; client++) {
    const driver = await disk.connect();
    assertSameBytes(await driver.read(8, 8), CONTENT.subarray(4096, 8192), 'data read');
    await assert.rejects(driver.write(8, CONTENT.subarray(0, 4096)), /status 1/);
    driver.close();
    await disk.server.logged(new RegExp(`client ${client} disconnected`));
  }
  assert.ok(!disk.server.stderr.includes(' error '), disk.server.stderr);
});

test('what is wrong at the start is said as without it, once, and no socket is left', async (t) => {
  const folder = imageFolder(t);
  const image = join(folder, 'image');
  writeFileSync(image, CONTENT);
  const socket = `-s${join(folder, 'socket')}`;
  const uring = { NODE_OPTIONS: '', UV_USE_IO_URING: '1' };
  const cases: readonly { args: readonly string[]; env?: Record<string, string> }[] = [
    { args: [socket, `-b${folder}/none`] },
    { args: [socket, `-b${folder}`] },
    { args: [`-s${folder}/none/socket`, `-b${image}`] },
    { args: [socket, `-b${image}`, '--block-size=3000'] },
    { args: [socket, `-b${image}`, '--sandbox=on'], env: uring },
    { args: ['--fd=77', `-b${image}`] },
  ];
  for (const { args, env } of cases) {
    const options = env === undefined ? {} : { env };
    const plain = await runServerProgram(args, options);
    const isolated = await runServerProgram([...args, '--isolate'], options);
    const complaint = (text: string): string => /^vhost-user-blk: .*$/m.exec(text)?.[0] ?? text;
    assert.notEqual(plain.code, 0);
    assert.equal(isolated.code, plain.code);
    assert.equal(complaint(isolated.stderr), complaint(plain.stderr));
    assert.equal(isolated.stderr.split('vhost-user-blk:').length, 2, 'one line');
    assert.ok(!existsSync(join(folder, 'socket')));
  }
});

test('sockets that are passed: a listening one, and a connection', async (t) => {
  const folder = imageFolder(t);
  const [socketPath, image] = [join(folder, 'socket'), join(folder, 'image')];
  writeFileSync(image, CONTENT);
  using listener = listenUnix(socketPath, 4);
  const host = new DriverHost(socketPath);
  t.after(() => host.close());
  const args = [`--fd=${FIRST_PASSED_FD}`, `-b${image}`, ...ARGS];
  await using server = await ServerProgram.ready(args, { fds: [listener.number] });
  for (let client = 0; client < 2; client++) {
    const driver = await host.connect();
    await driver.read(0, 8);
    driver.close();
  }
  const link = server.openFds().filter((name) => name.startsWith('socket:'));
  const serving = await preparedProcess(server);
  assert.ok(link.length > 0);
  assert.doesNotMatch(readFileSync(`/proc/${serving}/cmdline`, 'utf8'), /--fd/);
  assert.equal((await server.stop()).code, 0);
  assert.ok(existsSync(socketPath), 'the path is somebody else’s');
});

test('when the program is killed, so are the processes it has started', async () => {
  await using disk = await ServedDisk.start({ args: ARGS });
  const driver = await disk.connect();
  await driver.read(0, 1);
  const serving = await servingProcess(disk.server, 1);
  const children = [serving, await preparedProcess(disk.server, serving)];
  // Stopped, they cannot see that anything has happened: the kernel has to do it.
  for (const pid of children) process.kill(pid, 'SIGSTOP');
  await disk.server.stop('SIGKILL');
  for (const pid of children) await gone(pid);
});

test('the end with requests under way: they are finished, exit code 0', async () => {
  await using disk = await ServedDisk.start({ args: [...ARGS, PATIENCE] });
  const driver = await disk.connect();
  const load = Promise.allSettled(
    Array.from({ length: 32 }, (_, lane) => driver.write(lane * 8, patternBytes(4096, lane))),
  );
  const { code, stderr } = await disk.server.stop('SIGINT');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /info {2}SIGINT: finishing the requests under way/);
  await load;
  await sleep(0);
  assert.ok(!existsSync(disk.socketPath));
});
