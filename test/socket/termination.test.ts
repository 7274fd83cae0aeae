/** The end of the program: soon, with what was promised done, and nothing left behind. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockDriver } from '../../src/testing/index.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';
import { runServerProgram, ServerProgram } from '../support/server-program.ts';

/** The promise is one second; the rest is for a busy machine. */
const END_LIMIT_MS = 10_000;
const BLOCK_BYTES = 16 * 1024;
const LANES = 24;

/** Writes without a pause, until the connection ends. Returns what was acknowledged, by block. */
async function writeUntilTheEnd(
  driver: BlockDriver,
  onWrite: () => void,
): Promise<Map<number, number>> {
  const acknowledged = new Map<number, number>();
  const lane = async (block: number): Promise<void> => {
    for (let seed = 1; ; seed++) {
      try {
        await driver.write(block * (BLOCK_BYTES / 512), patternBytes(BLOCK_BYTES, seed), block % 4);
      } catch {
        return;
      }
      acknowledged.set(block, seed);
      onWrite();
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, block) => lane(block)));
  return acknowledged;
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`signals, ${engine}`, () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      test(`${signal} under load: exit 0, soon, with all that was acknowledged`, {
        skip,
      }, async () => {
        await using disk = await ServedDisk.start({ engine, args: ['--threads=2'] });
        const driver = await disk.connect({ numQueues: 4 });
        let writes = 0;
        let enough: () => void = () => {};
        const busy = new Promise<void>((resolve) => {
          enough = resolve;
        });
        const load = writeUntilTheEnd(driver, () => {
          writes += 1;
          if (writes === 500) enough();
        });
        await busy;
        const startedMs = performance.now();
        const { code, signal: killedBy, stderr } = await disk.server.stop(signal);
        const elapsedMs = performance.now() - startedMs;
        assert.deepEqual([code, killedBy], [0, null], stderr);
        assert.ok(elapsedMs < END_LIMIT_MS, `ended after ${Math.round(elapsedMs)} ms`);
        assert.deepEqual(readdirSync(disk.folder), ['image'], 'no socket is left');
        const acknowledged = await load;
        for (const [block, seed] of acknowledged) {
          const found = disk.readImage(block * BLOCK_BYTES, BLOCK_BYTES);
          // The write after the last acknowledged one may have been done, too.
          const expected = [seed, seed + 1].map((each) => patternBytes(BLOCK_BYTES, each));
          const matches = expected.some((bytes) => Buffer.compare(bytes, found) === 0);
          assert.ok(matches, `block ${block} holds write ${seed}`);
        }
      });
    }

    test('a request after the end fails at once', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect();
      await driver.read(0, 1);
      await disk.server.stop();
      // Twice: the end may show with the first.
      await assert.rejects(driver.read(0, 1));
      await assert.rejects(driver.read(0, 1));
    });

    test('an idle client, connected or waiting, does not delay the end', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect();
      await driver.read(0, 1);
      const waiting = assert.rejects(disk.connect());
      const startedMs = performance.now();
      const { code, stderr } = await disk.server.stop();
      assert.equal(code, 0, stderr);
      assert.ok(performance.now() - startedMs < END_LIMIT_MS);
      await waiting;
      assert.equal(existsSync(disk.socketPath), false);
    });

    test('a second signal changes nothing', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const ends = await Promise.all([disk.server.stop('SIGTERM'), disk.server.stop('SIGINT')]);
      assert.deepEqual(
        ends.map(({ code }) => code),
        [0, 0],
      );
    });
  });
}

suite('signals while the program starts', () => {
  test('as soon as the socket is there, a signal ends the program as it should', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'termination-'));
    try {
      const socketPath = join(folder, 'socket');
      for (let round = 0; round < 6; round++) {
        await using server = new ServerProgram([`-s${socketPath}`, '--disk=null,size=1M']);
        const endMs = performance.now() + 30_000;
        while (!existsSync(socketPath) && performance.now() < endMs) await sleep(1);
        // Before, while and after it says that it is ready.
        await sleep(round * 30);
        const { code, stderr } = await server.stop();
        assert.equal(code, 0, stderr);
        assert.deepEqual(readdirSync(folder), []);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

suite('sockets of other servers', () => {
  test('the socket of a server that was killed is replaced', async () => {
    await using disk = await ServedDisk.start();
    await (await disk.connect()).write(0, patternBytes(512));
    await disk.server.stop('SIGKILL');
    assert.ok(existsSync(disk.socketPath), 'what a killed server leaves');
    const args = [`-s${disk.socketPath}`, `-b${disk.imagePath}`];
    await using next = await ServerProgram.ready(args);
    assertSameBytes(await (await disk.connect()).read(0, 1), patternBytes(512), 'data read');
    assert.equal((await next.stop()).code, 0);
    assert.equal(existsSync(disk.socketPath), false);
  });

  test('a socket in use is refused, and its server goes on', async () => {
    await using disk = await ServedDisk.start();
    const driver = await disk.connect();
    const run = await runServerProgram([`-s${disk.socketPath}`, '--disk=null,size=1M']);
    assert.equal(run.code, 1);
    assert.match(run.stderr, /^vhost-user-blk: .* is in use: another server listens on it\n$/);
    await driver.read(0, 1);
    driver.close();
    await (await disk.connect()).read(0, 1);
  });

  test('a file at the socket’s path is left alone', async () => {
    await using disk = await ServedDisk.start();
    const run = await runServerProgram([`-s${disk.imagePath}`, '--disk=null,size=1M']);
    assert.equal(run.code, 1);
    assert.match(run.stderr, /^vhost-user-blk: .* exists and is no socket: it is left alone\n$/);
    assert.equal(disk.readImage().length, 16 * 1024 * 1024);
  });

  test('a path that another server has taken over is not removed', async () => {
    await using disk = await ServedDisk.start();
    unlinkSync(disk.socketPath);
    await using other = await ServerProgram.ready([`-s${disk.socketPath}`, '--disk=null,size=1M']);
    assert.equal((await disk.server.stop()).code, 0);
    assert.ok(existsSync(disk.socketPath));
    await (await disk.connect()).read(0, 1);
    assert.equal((await other.stop()).code, 0);
  });

  test('a server in another network namespace is noticed', {
    skip: process.getuid?.() === 0 ? false : 'needs root for unshare --net; run as root',
  }, async () => {
    await using disk = await ServedDisk.start();
    const run = await runServerProgram([`-s${disk.socketPath}`, '--disk=null,size=1M'], {
      launcher: ['unshare', '--net'],
    });
    assert.equal(run.code, 1);
    assert.match(run.stderr, /is in use/);
    await (await disk.connect()).read(0, 1);
  });
});
