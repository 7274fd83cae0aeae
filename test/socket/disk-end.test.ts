/** The end of a served disk: what it has in memory is written, however long that takes, or it is said. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runCli } from '../support/cli-run.ts';
import { vhostUserDevice } from '../support/client-device.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { type ProgramRun, ServerProgram } from '../support/server-program.ts';

const CLOSING_PROGRAM = fileURLToPath(new URL('../support/closing-program.js', import.meta.url));
const BYTES = 2 ** 20;
/** Longer than requests under way have at the end. */
const SLOW_MS = 1500;

/** The log without times, and without what is not an error. */
function errorsOf(stderr: string): string[] {
  const lines = stderr.split('\n').filter((line) => line !== '');
  const errors = lines.filter((line) => !/ (debug|info |warn ) /.test(line));
  return errors.map((line) => line.replace(/^\S+Z /, ''));
}

suite('the end of a disk', () => {
  test('a cache is written back, though that takes longer than requests may', async (t) => {
    const folder = imageFolder(t);
    const image = join(folder, 'disk.img');
    writeFileSync(image, new Uint8Array(BYTES));
    const socketPath = join(folder, 'disk.sock');
    const disk = `cache(delay(file(${image}), write=${SLOW_MS}), mode=write-back, interval=0)`;
    await using server = await ServerProgram.ready([`-s${socketPath}`, '--disk', disk]);
    {
      using device = vhostUserDevice(socketPath, {});
      await device.connect();
      await device.start();
      await device.asyncQueue(0).write(0, new Uint8Array(4096).fill(7));
    }
    const { code, stderr } = await server.stop();
    assert.deepEqual([code, errorsOf(stderr)], [0, []]);
    assert.deepEqual(new Uint8Array(readFileSync(image).subarray(0, 4096)), filled(4096, 7));
  });

  test('data that is lost is told in one line, and by the exit code', async (t) => {
    const folder = imageFolder(t);
    const image = join(folder, 'disk.img');
    writeFileSync(image, new Uint8Array(BYTES));
    const socketPath = join(folder, 'disk.sock');
    const faulty = `error(file(${image}), on=write)`;
    const disk = `cache(${faulty}, mode=write-back, interval=0)`;
    await using server = await ServerProgram.ready([`-s${socketPath}`, '--disk', disk]);
    {
      using device = vhostUserDevice(socketPath, {});
      await device.connect();
      await device.start();
      await device.asyncQueue(0).write(0, new Uint8Array(512).fill(7));
    }
    const { code, stderr } = await server.stop();
    const errors = errorsOf(stderr);
    assert.deepEqual([code, errors.length], [1, 1], stderr);
    assert.match(errors[0], /^error the disk is not closed as it should be: .* bytes .* are lost/);
  });

  for (const [what, close] of [
    ['throws', "throw new Error('cannot be\\nwritten')"],
    ['throws nothing of sense', 'throw Object.create(null)'],
  ]) {
    test(`a module whose close ${what} is told so, by every program`, async (t) => {
      const folder = imageFolder(t);
      const module = join(folder, 'my-disk.mjs');
      const object = `{ sizeBytes: ${BYTES}, read: (buffer) => void buffer.fill(0), close() { ${close} } }`;
      writeFileSync(module, `export default ${object};\n`);
      const socketPath = join(folder, 'disk.sock');
      await using server = await ServerProgram.ready([`-s${socketPath}`, '--disk', module]);
      const { code, stderr } = await server.stop();
      assert.deepEqual([code, errorsOf(stderr).length], [1, 1], stderr);
      assert.match(stderr, /the disk is not closed as it should be: .*: close failed: /);

      const explained = runCli('vhost-user-blk', ['-s/none', '--disk', module, '--explain']);
      assert.equal(explained.code, 1, explained.stderr);

      const trace = join(folder, 'trace');
      writeFileSync(trace, `{"trace":"vhostkit","version":1,"time":"","sizeBytes":${BYTES}}\n`);
      const replayed = runCli('vhostkit-disk', ['replay', trace, module]);
      assert.equal(replayed.code, 1);
      assert.match(replayed.stderr, /^vhostkit-disk: [^\n]*: close failed: [^\n]+\n$/);
    });
  }

  test('a disk that never is closed does not keep the program, nor let it end silently', () => {
    const { status, stderr } = spawnSync(process.execPath, [CLOSING_PROGRAM, '200'], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(status, 1, stderr);
    const line = /^\S+ error the disk is not closed after 200 ms: giving up, .* may be lost\n$/;
    assert.match(stderr, line);
  });

  /** Have the program told to end while a read is under way, that takes so long. */
  async function stopDuringRead(
    t: CleanUp,
    takesMs: number | undefined,
    ...args: readonly string[]
  ): Promise<{ end: ProgramRun; read: 'done' | 'lost' }> {
    const folder = imageFolder(t);
    const module = join(folder, 'my-disk.mjs');
    const ending = takesMs === undefined ? '' : `setTimeout(done, ${takesMs})`;
    const method = `{ console.error('asked'); return new Promise((done) => { ${ending} }); }`;
    writeFileSync(module, `export default { sizeBytes: ${BYTES}, read: () => ${method} };\n`);
    const socketPath = join(folder, 'disk.sock');
    const place = [`-s${socketPath}`, '--disk', module];
    await using server = await ServerProgram.ready([...place, ...args]);
    using device = vhostUserDevice(socketPath, { 'read-only': true });
    await device.connect();
    await device.start();
    const read = device
      .asyncQueue(0)
      .read(0, new Uint8Array(512))
      .then(
        () => 'done' as const,
        () => 'lost' as const,
      );
    await server.logged(/^asked$/m);
    const end = await server.stop();
    return { end, read: await read };
  }

  for (const [args, limitMs] of [
    [[], 800],
    [['--shutdown-timeout=50'], 50],
  ] as const) {
    test(`requests that never end do not keep it for more than ${limitMs} ms`, async (t) => {
      const { end, read } = await stopDuringRead(t, undefined, ...args);
      assert.deepEqual([end.code, read], [1, 'lost'], end.stderr);
      const line = new RegExp(`requests are still under way after ${limitMs} ms: giving up\\n$`);
      assert.match(end.stderr, line);
    });
  }

  test('slow requests are finished, by who gives them the time', async (t) => {
    const { end, read } = await stopDuringRead(t, SLOW_MS, '--shutdown-timeout=20000');
    assert.deepEqual([end.code, read], [0, 'done'], end.stderr);
  });
});

function filled(bytes: number, byte: number): Uint8Array {
  return new Uint8Array(bytes).fill(byte);
}
