/** `--isolate`, and processes that are lost: only their own client notices. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { vhostUserDevice } from '../support/client-device.ts';
import { ClientLoad } from '../support/client-load.ts';
import { eventually } from '../support/eventually.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';
import { gone, servingProcess } from '../support/serving-processes.ts';

const TRUNCATING_CLIENT = fileURLToPath(
  new URL('../support/truncating-client.js', import.meta.url),
);
const SIZE_BYTES = 4 * 1024 * 1024;
const CONTENT = patternBytes(SIZE_BYTES);
const KILLS = 8;
const LANES = 32;

/** Run a client that truncates its memory under load, and wait until it has. */
async function truncate(disk: ServedDisk): Promise<() => void> {
  const client = spawn(process.execPath, [TRUNCATING_CLIENT, disk.socketPath, String(SIZE_BYTES)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  const [line] = await once(createInterface(client.stdout), 'line');
  assert.equal(line, 'truncated');
  return () => client.kill('SIGKILL');
}

/** Nothing but what the client wrote has changed. */
function assertIntact(disk: ServedDisk): void {
  const half = SIZE_BYTES / 2;
  assertSameBytes(disk.readImage(0, half), CONTENT.subarray(0, half), 'what no client wrote to');
  for (let start = half; start < SIZE_BYTES; start += 4096) {
    const found = disk.readImage(start, 4096);
    if (found[0] === 0xee)
      assert.ok(
        found.every((byte) => byte === 0xee),
        `block at ${start}`,
      );
    else assertSameBytes(found, CONTENT.subarray(start, start + 4096), `block at ${start}`);
  }
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`processes that are lost, ${engine}`, { skip }, () => {
    test('a client that truncates its memory loses its own process, and no other', async () => {
      const args = ['--isolate', '--log-level=debug'];
      await using disk = await ServedDisk.start({ engine, args, content: CONTENT });
      for (let client = 1; client <= 3; client += 2) {
        const end = await truncate(disk);
        await disk.server.logged(
          new RegExp(`error client ${client}: its process has been lost: SIGBUS: the front-end`),
        );
        end();
        assertIntact(disk);
        const driver = await disk.connect();
        assertSameBytes(await driver.read(0, 8), CONTENT.subarray(0, 4096), 'data read');
        await driver.write(0, CONTENT.subarray(0, 4096));
        driver.close();
      }
      assert.equal((await disk.server.stop()).code, 0);
    });

    test('without --isolate such a client ends the server', async () => {
      await using disk = await ServedDisk.start({ engine, content: CONTENT });
      const end = await truncate(disk);
      const { signal } = await disk.server.ended;
      end();
      assert.equal(signal, 'SIGBUS');
      assertIntact(disk);
    });

    test('a client connects again after each kill, and every request completes once', async (t) => {
      const args = ['--isolate', '--log-level=debug', '--num-queues=2'];
      await using disk = await ServedDisk.start({ engine, args, sizeBytes: SIZE_BYTES });
      using device = vhostUserDevice(disk.socketPath, { 'reconnect-ms': 1 });
      await device.connect();
      device.set('num-queues', 2);
      await device.start();
      const queues = [device.asyncQueue(0), device.asyncQueue(1)];
      const load = new ClientLoad(queues, SIZE_BYTES, LANES);
      const pauses: number[] = [];
      for (let client = 1; client <= KILLS; client++) {
        const before = load.done;
        await eventually('requests are done', () => load.done > before);
        await sleep(Math.random() * 30);
        const pid = await servingProcess(disk.server, client);
        process.kill(pid, 'SIGKILL');
        await gone(pid);
        const done = load.done;
        const startMs = performance.now();
        await eventually('requests are done', () => load.done > done);
        pauses.push(performance.now() - startMs);
      }
      t.diagnostic(`pauses: ${pauses.map((ms) => ms.toFixed()).join(' ')} ms`);
      const model = await load.stop();
      assertSameBytes(disk.readImage(), model, 'the disk');
      const losses = disk.server.stderr.match(/its process has been lost: SIGKILL/g);
      assert.equal(losses?.length, KILLS);
    });
  });
}
