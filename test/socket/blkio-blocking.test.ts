/** Blocking queues whose server is killed while they wait: `doIo` comes back. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { BlockingOutcome } from '../support/blocking-client.ts';
import { ENGINES } from '../support/disk-session.ts';
import { eventually } from '../support/eventually.ts';
import { RestartingServer } from '../support/restarting-server.ts';
import { spawnTied, tiedProcessRequirement } from '../support/tied-process.ts';

const PROGRAM = fileURLToPath(new URL('../support/blocking-client.js', import.meta.url));
const SIZE_BYTES = 4 * 1024 * 1024;
const DEPTH = 300;
const LIMIT_MS = 60_000;
const unable = tiedProcessRequirement() ?? false;

/** Run the client, kill the server under it, perhaps start it again, and say what came of it. */
async function run(
  server: RestartingServer,
  engine: string,
  args: readonly string[],
  isRestarted: boolean,
): Promise<BlockingOutcome> {
  const command = [`VHOSTKIT_ENGINE=${engine}`, process.execPath, PROGRAM, server.socketPath];
  const { child, ended } = spawnTied('env', [...command, ...args], ['ignore', 'pipe', 'inherit']);
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  try {
    await eventually('requests are done', () => text.includes('loaded') || child.exitCode !== null);
    await server.kill();
    if (isRestarted) await server.start();
    assert.deepEqual(await ended, { code: 0, signal: null }, text);
    return JSON.parse(text.split('\n')[1]) as BlockingOutcome;
  } finally {
    clearTimeout(limit);
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
}

for (const { engine, skip } of ENGINES) {
  suite(`a blocking queue whose server is killed, ${engine}`, { skip: skip || unable }, () => {
    for (const kind of ['queue', 'pollQueue']) {
      test(`everything fails, and later requests at once (${kind})`, async () => {
        await using server = await RestartingServer.start(SIZE_BYTES);
        const outcome = await run(server, engine, ['0', kind], false);
        assert.deepEqual(outcome.others, []);
        assert.deepEqual(outcome.thrown, [], 'errors are completions');
        assert.ok(outcome.done > DEPTH && outcome.failed > 0);
        assert.deepEqual([outcome.later, outcome.laterFailed], [DEPTH, DEPTH]);
      });

      test(`with reconnection doIo says to wait, then all succeeds (${kind})`, async () => {
        await using server = await RestartingServer.start(SIZE_BYTES);
        const outcome = await run(server, engine, ['5', kind], true);
        assert.deepEqual(outcome.others, []);
        assert.ok(outcome.thrown.length > 0);
        assert.deepEqual(new Set(outcome.thrown), new Set(['ENOTCONN']));
        assert.deepEqual([outcome.failed, outcome.laterFailed], [0, 0]);
        assert.equal(outcome.later, DEPTH);
      });
    }
  });
}
