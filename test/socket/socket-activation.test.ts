/** Socket activation: the program serves a socket that a service manager has opened. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Fd, listenUnix } from '../../src/sys/index.ts';
import { findProgram } from '../../tools/guest/programs.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { DriverHost } from '../support/served-disk.ts';
import { runServerProgram, ServerProgram } from '../support/server-program.ts';

const CONTENT = patternBytes(65536);

/** Starts the rest of the command line as a service manager does: in the process it says. */
function activated(count = '1', pid = '$$'): readonly string[] {
  return ['sh', '-c', `LISTEN_PID=${pid} LISTEN_FDS=${count} exec "$@"`, 'sh'];
}

/** A socket as systemd opens it, an image, and who connects. */
class Place implements Disposable {
  readonly socketPath: string;
  readonly disk: string;
  readonly host: DriverHost;
  readonly listener: Fd;

  constructor(t: CleanUp) {
    const folder = imageFolder(t);
    this.socketPath = join(folder, 'socket');
    this.disk = `--blk-file=${join(folder, 'image')}`;
    writeFileSync(join(folder, 'image'), CONTENT);
    this.listener = listenUnix(this.socketPath, 4);
    this.host = new DriverHost(this.socketPath);
  }

  /** How to pass the socket. */
  get fds(): readonly number[] {
    return [this.listener.number];
  }

  [Symbol.dispose](): void {
    this.host.close();
    this.listener[Symbol.dispose]();
  }
}

test('the socket passed is served to client after client, and left alone', async (t) => {
  using place = new Place(t);
  const options = { fds: place.fds, launcher: activated() };
  await using server = await ServerProgram.ready([place.disk, '--sandbox=on'], options);
  for (let client = 0; client < 2; client++) {
    const driver = await place.host.connect();
    assertSameBytes(await driver.read(0, 8), CONTENT.subarray(0, 4096), 'data read');
    driver.close();
  }
  assert.equal((await server.stop()).code, 0);
  assert.ok(existsSync(place.socketPath), 'the path is the service manager’s');
});

test('a client that came before the program did is served', async (t) => {
  using place = new Place(t);
  const connecting = place.host.connect();
  const options = { fds: place.fds, launcher: activated() };
  await using _server = await ServerProgram.ready([place.disk], options);
  const driver = await connecting;
  assertSameBytes(await driver.read(8, 8), CONTENT.subarray(4096, 8192), 'data read');
});

test('with another socket on the command line, or several: exit code 2 and one line', async (t) => {
  using place = new Place(t);
  const other = join(imageFolder(t), 'socket');
  const cases = [
    { args: [`--socket-path=${other}`], launcher: activated(), reason: /contradict it/ },
    { args: ['--fd=3'], launcher: activated(), reason: /contradict it/ },
    { args: ['--socket-mode=0660'], launcher: activated(), reason: /are for --socket-path/ },
    { args: [], launcher: activated('2'), reason: /one socket can be served/ },
    { args: [], launcher: activated('many'), reason: /must be a number/ },
    { args: [], launcher: activated('1', '1'), reason: /give either --socket-path or --fd/ },
  ];
  for (const { args, launcher, reason } of cases) {
    const options = { fds: place.fds, launcher };
    const { code, stderr } = await runServerProgram([place.disk, ...args], options);
    assert.match(stderr, /^vhost-user-blk: [^\n]+ \(see --help\)\n$/);
    assert.match(stderr, reason);
    assert.equal(code, 2);
  }
  assert.ok(!existsSync(other));
});

test('a socket passed that is none: exit code 1 and one line', async (t) => {
  using place = new Place(t);
  const launcher = ['sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3</dev/null', 'sh'];
  const { code, stderr } = await runServerProgram([place.disk], { launcher });
  assert.match(stderr, /^vhost-user-blk: descriptor 3 is no listening or connected .*\n$/);
  assert.equal(code, 1);
});

test('systemd starts the program when a client connects', {
  skip: findProgram('systemd-socket-activate') === undefined && 'apt-get install systemd',
}, async (t) => {
  const folder = imageFolder(t);
  const [socketPath, image] = [join(folder, 'socket'), join(folder, 'image')];
  writeFileSync(image, CONTENT);
  const launcher = ['systemd-socket-activate', `--listen=${socketPath}`];
  await using server = new ServerProgram([`--blk-file=${image}`], { launcher });
  await server.logged(/Listening on /);
  const host = new DriverHost(socketPath);
  t.after(() => host.close());
  const driver = await host.connect();
  assertSameBytes(await driver.read(0, 8), CONTENT.subarray(0, 4096), 'data read');
  await server.logged(/serving descriptor 3/);
});
