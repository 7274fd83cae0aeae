/**
 * The sandbox of the program, tried from the inside: a module that is loaded with it tries what an
 * intruder would, in the main thread and in a queue worker, once clients are served.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { threadStatuses } from '../../fuzz/process-facts.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { missingLandlock } from '../support/landlock.ts';
import { refusalOf } from '../support/refusal.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { DriverHost, SERVER_ENGINES } from '../support/served-disk.ts';
import { runServerProgram, ServerProgram } from '../support/server-program.ts';

const ATTEMPTS = new URL('../support/sandbox-attempts.js', import.meta.url).href;
const LATE_THREAD = new URL('../support/late-thread.js', import.meta.url).href;
const SIZE_BYTES = 1024 * 1024;
/** Numbers of the kernel's side of the sandbox. */
const LANDLOCK_CALLS = [444, 445, 446];
const RESTRICT_CALLS = [446];
const SECCOMP_CALL = process.arch === 'x64' ? 317 : 277;
/** Attempts that Landlock keeps from succeeding by itself. */
const FILE_ATTEMPTS = [
  'read a file',
  'read a file of this folder',
  'open the image',
  'make a file',
  'make a folder',
];

const skip = missingLandlock();

type Outcomes = Readonly<Record<string, string>>;

/** A served disk whose program attempts things. */
class Intruded implements AsyncDisposable {
  readonly folder: string;
  readonly server: ServerProgram;
  readonly #host: DriverHost;

  /** @param modules - to load before, so that something is missing. */
  static async start(
    t: CleanUp,
    args: readonly string[],
    modules: readonly string[] = [],
  ): Promise<Intruded> {
    const folder = imageFolder(t);
    writeFileSync(join(folder, 'image'), patternBytes(SIZE_BYTES));
    const options = [...modules, ATTEMPTS].map((module) => `--import=${module}`).join(' ');
    const env = {
      NODE_OPTIONS: options,
      VHOSTKIT_ATTEMPTS: folder,
      VHOSTKIT_ATTEMPTS_ON: modules.length === 0 ? 'all' : 'files',
    };
    const place = [`-s${join(folder, 'socket')}`, `-b${join(folder, 'image')}`];
    return new Intruded(folder, await ServerProgram.ready([...place, ...args], { env }));
  }

  private constructor(folder: string, server: ServerProgram) {
    this.folder = folder;
    this.server = server;
    this.#host = new DriverHost(join(folder, 'socket'));
  }

  /** Let the module try. Returns what came of it, in the main thread and in a worker. */
  async attempts(): Promise<{ readonly main: Outcomes; readonly worker: Outcomes }> {
    writeFileSync(join(this.folder, 'go'), '');
    const result = async (thread: string): Promise<Outcomes> => {
      const [, json] = await this.server.logged(new RegExp(`^attempts in ${thread}: (.*)$`, 'm'));
      return JSON.parse(json) as Outcomes;
    };
    const main = await result('main');
    // Workers look after commands only, and with some luck at the first.
    for (let round = 0; round < 20 && !/attempts in worker/.test(this.server.stderr); round++) {
      (await this.#host.connect()).close();
    }
    return { main, worker: await result('worker') };
  }

  /** The disk is as good as ever. */
  async assertServes(): Promise<void> {
    const driver = await this.#host.connect();
    const expected = patternBytes(SIZE_BYTES).subarray(0, 4096);
    assertSameBytes(await driver.read(0, 8), expected, 'data read');
    await driver.write(64, patternBytes(4096, 7));
    assertSameBytes(await driver.read(64, 8), patternBytes(4096, 7), 'data written');
    driver.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#host.close();
    await this.server.stop();
  }
}

for (const engine of SERVER_ENGINES) {
  suite(`the sandbox, ${engine.engine}`, { skip: engine.skip || skip }, () => {
    const args = ['--sandbox=on', `--engine=${engine.engine}`, '--threads=2'];

    test('nothing is opened, made, removed, executed, or reached any more', async (t) => {
      await using intruded = await Intruded.start(t, args);
      const { main, worker } = await intruded.attempts();
      for (const [thread, outcomes] of Object.entries({ main, worker })) {
        const { clone3, 'an unknown call': unknown, ...rest } = outcomes;
        assert.deepEqual([clone3, unknown], ['ENOSYS', 'ENOSYS'], thread);
        assert.ok(Object.keys(rest).length > 25, 'all was tried');
        const wrong = Object.entries(rest).filter(([, outcome]) => outcome !== 'EPERM');
        assert.deepEqual(wrong, [], thread);
      }
      assert.equal(main['read a file by the pool'], 'EPERM');
      await intruded.assertServes();
      const { code, stderr } = await intruded.server.stop();
      assert.equal(code, 0, stderr);
      const left = readdirSync(intruded.folder).sort();
      assert.deepEqual(left, ['go', 'image'], 'the socket is removed, and nothing else');
    });

    test('a thread that starts late loads what it needs', async (t) => {
      await using intruded = await Intruded.start(t, args, [LATE_THREAD]);
      await intruded.assertServes();
      const { code, stderr } = await intruded.server.stop();
      assert.equal(code, 0, stderr);
    });

    test('every thread has the filter, and gets no new privileges', async (t) => {
      await using intruded = await Intruded.start(t, args);
      const { pid } = intruded.server;
      assert.ok(threadStatuses(pid, 'Seccomp').size > 6, 'threads of Node, libuv and ours');
      assert.deepEqual([...new Set(threadStatuses(pid, 'Seccomp').values())], ['2']);
      assert.deepEqual([...new Set(threadStatuses(pid, 'NoNewPrivs').values())], ['1']);
      await intruded.assertServes();
      assert.deepEqual(
        [...new Set(threadStatuses(pid, 'Seccomp').values())],
        ['2'],
        'nor any that came later',
      );
    });
  });
}

suite('a sandbox with parts missing', { skip }, () => {
  test('Landlock alone keeps main thread and workers from files', async (t) => {
    const refused = refusalOf([SECCOMP_CALL], 'ENOSYS');
    await using intruded = await Intruded.start(t, [], [refused]);
    const { stderr } = intruded.server;
    assert.match(stderr, /info {2}sandbox: Landlock \(ABI \d+\) in the main thread/);
    assert.match(stderr, /warn {2}sandbox: seccomp is not in force: the kernel does not have it/);
    const { main, worker } = await intruded.attempts();
    for (const name of FILE_ATTEMPTS) {
      assert.deepEqual([main[name], worker[name]], ['EACCES', 'EACCES'], name);
    }
    await intruded.assertServes();
    assert.equal((await intruded.server.stop()).code, 0);
    assert.ok(!existsSync(join(intruded.folder, 'socket')), 'the socket may be removed');
  });

  test('seccomp alone keeps all threads from files', async (t) => {
    const refused = refusalOf(LANDLOCK_CALLS, 'ENOSYS');
    await using intruded = await Intruded.start(t, [], [refused]);
    const { stderr } = intruded.server;
    assert.match(stderr, /info {2}sandbox: seccomp in all threads\n/);
    assert.match(stderr, /warn {2}sandbox: Landlock is not in force: the kernel does not have it/);
    const { main, worker } = await intruded.attempts();
    for (const name of FILE_ATTEMPTS) {
      assert.deepEqual([main[name], worker[name]], ['EPERM', 'EPERM'], name);
    }
    assert.equal(main['read a file by the pool'], 'EPERM');
    await intruded.assertServes();
  });

  test('threads that may not restrict themselves go without', async (t) => {
    const refused = refusalOf(RESTRICT_CALLS, 'EPERM');
    await using intruded = await Intruded.start(t, [], [refused]);
    const { stderr } = intruded.server;
    assert.match(stderr, /warn {2}queue worker is not restricted: landlock_restrict_self: EPERM/);
    assert.match(stderr, /warn {2}sandbox: Landlock is not in force: forbidden/);
    assert.match(stderr, /info {2}sandbox: seccomp in all threads\n/);
    await intruded.assertServes();
  });

  test('"on" refuses to serve, in one line', async (t) => {
    const socket = join(imageFolder(t), 'socket');
    const args = [`-s${socket}`, '--disk=null,size=1M', '--sandbox=on'];
    for (const [calls, errno, reason] of [
      [LANDLOCK_CALLS, 'ENOSYS', 'Landlock is not to be had: the kernel does not have it'],
      [LANDLOCK_CALLS, 'EPERM', 'Landlock is not to be had: forbidden \\(by a sandbox.*\\)'],
      [[SECCOMP_CALL], 'ENOSYS', 'seccomp is not to be had: the kernel does not have it'],
    ] as const) {
      const env = { NODE_OPTIONS: `--import=${refusalOf(calls, errno)}` };
      const { code, stderr } = await runServerProgram(args, { env });
      assert.match(stderr, new RegExp(`^vhost-user-blk: --sandbox=on: ${reason}\n$`));
      assert.equal(code, 1);
      assert.ok(!existsSync(socket));
    }
    const late = { NODE_OPTIONS: `--import=${refusalOf(RESTRICT_CALLS, 'EPERM')}` };
    const run = await runServerProgram(args, { env: late });
    assert.match(run.stderr, /\nvhost-user-blk: --sandbox=on: Landlock is not to be had: .*\n$/);
    assert.equal(run.code, 1);
    assert.ok(!existsSync(socket));
    const { stderr } = await runServerProgram(args, { env: { UV_USE_IO_URING: '1' } });
    assert.match(
      stderr,
      /^vhost-user-blk: --sandbox=on: io_uring restrictions .* ring of its own\n$/,
    );
  });

  test('"off" confines nothing, and says so', async (t) => {
    await using intruded = await Intruded.start(t, ['--sandbox=off']);
    assert.match(intruded.server.stderr, /sandbox: off/);
    assert.deepEqual([...new Set(threadStatuses(intruded.server.pid, 'Seccomp').values())], ['0']);
    assert.equal((await intruded.server.stop()).code, 0);
  });
});

test('a debugger does not get in by SIGUSR1', { skip }, async (t) => {
  await using intruded = await Intruded.start(t, ['--sandbox=on']);
  process.kill(intruded.server.pid, 'SIGUSR1');
  await intruded.server.logged(/Starting inspector on .* failed: operation not permitted/);
  await intruded.assertServes();
});
