/** A device that could not connect, or was closed, keeps no process from ending. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ENGINES } from '../support/disk-session.ts';
import { eventually } from '../support/eventually.ts';
import { FakeBackend, type FakeMessage, type Reaction } from '../support/fake-backend.ts';
import { spawnTied, tiedProcessRequirement } from '../support/tied-process.ts';

const BLKIO = fileURLToPath(new URL('../../src/blkio/index.js', import.meta.url));
const LIMIT_MS = 30_000;
const unable = tiedProcessRequirement() ?? false;

/** Run a program's lines on a `device` for the path, and return what it prints before it ends. */
async function run(engine: string, path: string, body: string): Promise<string> {
  const program = `
    import { Blkio } from ${JSON.stringify(BLKIO)};
    const device = new Blkio('virtio-blk-vhost-user');
    const say = (error) => process.stdout.write(error.code + ' ');
    device.set('path', ${JSON.stringify(path)});
    ${body}
    process.stdout.write('end');`;
  const file = join(dirname(path), 'program.mjs');
  writeFileSync(file, program);
  const args = [process.execPath, file];
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const { child, ended } = spawnTied('env', [`VHOSTKIT_ENGINE=${engine}`, ...args], [...stdio]);
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const { code } = await ended;
  clearTimeout(limit);
  assert.equal(code, 0, `it had to be killed: ${text}`);
  return text;
}

const isStarting = ({ name }: FakeMessage): boolean => name === 'SET_VRING_KICK';

/** What the back-end does, what the program does, and what that prints. */
const PROGRAMS: readonly (readonly [string, (message: FakeMessage) => Reaction, string, string])[] =
  [
    ['could not connect', () => 'hang up', 'await device.connect().catch(say);', 'ECONNRESET end'],
    [
      'got no answer',
      () => 'silence',
      `device.set('timeout-ms', 20); await device.connect().catch(say);`,
      'ETIMEDOUT end',
    ],
    [
      'could not start',
      (message) => (isStarting(message) ? 'refuse' : 'usual'),
      'await device.connect(); await device.start().catch(say);',
      'EPROTO end',
    ],
    [
      'was closed while it connected',
      () => 'silence',
      'const wait = device.connect().catch(say); await new Promise(setImmediate); device.close(); await wait;',
      'ENODEV end',
    ],
    [
      'was closed while it started',
      (message) => (isStarting(message) ? 'silence' : 'usual'),
      `await device.connect(); const wait = device.start().catch(say);
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    device.close(); await wait;`,
      'ENODEV end',
    ],
    [
      'was closed while it looked for its back-end',
      (message) => (isStarting(message) ? 'hang up' : 'usual'),
      `device.set('reconnect-ms', 1);
    await device.connect(); await device.start().catch(say); device.close();`,
      'ECONNRESET end',
    ],
  ];

for (const { engine, skip } of ENGINES) {
  suite(`a process with a device that, ${engine}`, { skip: skip || unable }, () => {
    for (const [name, script, body, output] of PROGRAMS) {
      test(name, async () => {
        using backend = new FakeBackend({ script });
        assert.equal(await run(engine, backend.socketPath, body), output);
      });
    }

    test('waits to reconnect, and is closed', async () => {
      let isEnabled = false;
      using backend = new FakeBackend({
        script: ({ name }) => {
          isEnabled ||= name === 'SET_VRING_ENABLE';
          return 'usual';
        },
      });
      const body = `
        device.set('reconnect-ms', 100000);
        await device.connect();
        await device.start();
        const read = device.asyncQueue(0).read(0, new Uint8Array(512)).catch(say);
        await new Promise((resolve) => device.once('disconnect', resolve));
        device.close();
        await read;`;
      const output = run(engine, backend.socketPath, body);
      // The start is through, and who has asked waits to be told, as soon as it has asked.
      await eventually('it has asked', () => isEnabled && backend.device.availableCount === 1);
      backend.hangUp();
      assert.equal(await output, 'ENOTCONN end');
    });
  });
}
