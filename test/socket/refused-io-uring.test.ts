/** A system that refuses io_uring, as containers do: epoll takes over, unless io_uring is a must. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type CliRun, runCli } from '../support/cli-run.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { refusalOf } from '../support/refusal.ts';
import { ServerProgram } from '../support/server-program.ts';

const BLKIO = new URL('../../src/blkio/index.js', import.meta.url).href;
/** The same number on all machines. */
const IO_URING_SETUP = 425;
const REFUSAL = refusalOf([IO_URING_SETUP], 'EPERM');
const LIMIT_MS = 30_000;
const SIZE_BYTES = 65536;

/** For a process to which io_uring is refused. */
function environment(engine: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=${REFUSAL}`, VHOSTKIT_ENGINE: engine };
}

function image(t: CleanUp): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(SIZE_BYTES, 'x'));
  return path;
}

/** Run a program's lines, with an image for a `path`, and return what it prints. */
function run(t: CleanUp, engine: string, lines: string): string {
  const program = `
    import { adoptAsyncQueue, adoptQueue, Blkio, CompletionList, openDevice } from ${JSON.stringify(BLKIO)};
    const path = ${JSON.stringify(image(t))};
    const say = (error) => console.log(error.name, error.code, error.message);
    const attempt = (body) => { try { body(); console.log('done'); } catch (error) { say(error); } };
    ${lines}`;
  const args = ['--input-type=module', '--eval', program];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: LIMIT_MS,
    env: { ...process.env, ...environment(engine) },
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

const STARTED_FILE = `
  const device = new Blkio('io_uring');
  device.set('path', path);
  await device.connect();
  await device.start();`;

/** What is said of as many attempts. */
function refusals(count: number, code: string): RegExp {
  const text = `VHOSTKIT_ENGINE=io_uring: not to be had here: .*EPERM.*`;
  return new RegExp(`^(BlkioError ${code} ${text}\n){${count}}$`);
}

suite('devices where io_uring is refused', () => {
  test('queues of a file work without it', (t) => {
    const lines = `${STARTED_FILE}
      const buffer = new Uint8Array(512);
      const queue = device.queue(0);
      queue.read(0, buffer);
      queue.doIo(new CompletionList(1), 1);
      console.log(buffer[511]);
      device.close();
      const other = await openDevice('io_uring', { path });
      await other.read(0, buffer);
      await other.close();`;
    assert.equal(run(t, '', lines), `${'x'.charCodeAt(0)}\n`);
  });

  test('queues that must have it: ENOSYS', (t) => {
    const lines = `${STARTED_FILE}
      attempt(() => device.queue(0));
      attempt(() => device.asyncQueue(0));
      device.close();`;
    assert.match(run(t, 'io_uring', lines), refusals(2, 'ENOSYS'));
  });

  test('queues of another thread that must have it: ENOSYS, and they can be removed', (t) => {
    const lines = `${STARTED_FILE}
      for (const adopt of [adoptQueue, adoptAsyncQueue]) {
        const index = device.addQueue();
        const handle = device.shareQueue(index);
        attempt(() => adopt(handle));
        device.removeQueue(index);
      }
      device.close();`;
    assert.match(run(t, 'io_uring', lines), refusals(2, 'ENOSYS'));
  });

  test('opening a device that must have it: ENOSYS, and the file is free again', (t) => {
    const lines = `
      await openDevice('io_uring', { path }).catch(say);
      await openDevice('virtio-blk-vhost-user', { path: path + '.socket' }).catch(say);
      process.env.VHOSTKIT_ENGINE = 'epoll';
      const device = await openDevice('io_uring', { path });
      await device.close();`;
    assert.match(run(t, 'io_uring', lines), refusals(2, 'ENOSYS'));
  });

  test('an engine that does not exist: EINVAL', (t) => {
    const output = run(t, 'kqueue', `${STARTED_FILE} attempt(() => device.queue(0));`);
    assert.match(output, /^BlkioError EINVAL VHOSTKIT_ENGINE=kqueue: must be one of .*\n$/);
  });
});

/** One line, and exit code 1. */
function assertRefused(program: string, { code, stdout, stderr }: CliRun): void {
  assert.match(stderr, new RegExp(`^${program}: .*io_uring.* not to be had here: .*EPERM.*\n$`));
  assert.deepEqual([code, stdout], [1, '']);
}

suite('programs where io_uring is refused', () => {
  test('that must have it say so', (t) => {
    const path = image(t);
    const forced = environment('io_uring');
    const device = ['io_uring', `path=${path}`];
    assertRefused('blkio-bench', runCli('blkio-bench', device, forced));
    const copyArgs = [`--input-file=${path}`, `--output-file=${path}.copy`];
    assertRefused('blkio-copy', runCli('blkio-copy', copyArgs, forced));
    const served = [`--blk-file=${path}`, `--socket-path=${path}.socket`, '--engine=io_uring'];
    assertRefused('vhost-user-blk', runCli('vhost-user-blk', served, environment('')));
  });

  test('serve without it, and say why', async (t) => {
    const path = image(t);
    const args = [`--blk-file=${path}`, `--socket-path=${path}.socket`];
    await using server = await ServerProgram.ready(args, { env: environment('') });
    assert.match(server.stderr, /epoll.*io_uring is not to be had: forbidden/);
  });
});
