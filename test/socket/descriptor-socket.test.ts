/** `--fd`: the socket is opened by whoever starts the program. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { acceptUnix, createSocketPair, Fd, listenUnix } from '../../src/sys/index.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { DriverHost } from '../support/served-disk.ts';
import { FIRST_PASSED_FD, runServerProgram, ServerProgram } from '../support/server-program.ts';

const CONTENT = patternBytes(65536);
const FD_OPTION = `--fd=${FIRST_PASSED_FD}`;

/** A folder with an image, a listening socket, and a driver's side. */
class Place implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'fd-option-'));
  readonly imagePath = join(this.folder, 'image');
  readonly socketPath = join(this.folder, 'socket');
  readonly listener: Fd = listenUnix(this.socketPath, 4);
  readonly host = new DriverHost(this.socketPath);
  readonly args: readonly string[] = [FD_OPTION, `--blk-file=${this.imagePath}`];

  constructor() {
    writeFileSync(this.imagePath, CONTENT);
  }

  [Symbol.dispose](): void {
    this.host.close();
    this.listener[Symbol.dispose]();
    rmSync(this.folder, { recursive: true });
  }
}

test('a listening descriptor is served like a path, client after client', async () => {
  using place = new Place();
  const fds = [place.listener.number];
  await using server = await ServerProgram.ready(place.args, { fds });
  for (let client = 0; client < 3; client++) {
    const driver = await place.host.connect();
    assertSameBytes(await driver.read(8, 8), CONTENT.subarray(4096, 8192), 'data read');
    driver.close();
  }
  const { code } = await server.stop();
  assert.equal(code, 0);
  assert.ok(existsSync(place.socketPath), 'the path is not the program’s to remove');
});

test('a connected descriptor is served until the client hangs up, then the program ends', async () => {
  using place = new Place();
  const connecting = place.host.connect();
  // It has a time limit, and is waited for only when the server has started.
  connecting.catch(() => {});
  const connection = acceptUnix(place.listener.number);
  assert.ok(connection !== undefined);
  await using server = await ServerProgram.ready(place.args, { fds: [connection.number] });
  connection.close();
  const driver = await connecting;
  assertSameBytes(await driver.read(0, 8), CONTENT.subarray(0, 4096), 'data read');
  await driver.write(0, patternBytes(512, 3));
  driver.close();
  const { code, signal } = await server.ended;
  assert.deepEqual([code, signal], [0, null]);
});

test('a signal ends a program that serves a connected descriptor', async () => {
  using place = new Place();
  const connecting = place.host.connect();
  // It has a time limit, and is waited for only when the server has started.
  connecting.catch(() => {});
  const connection = acceptUnix(place.listener.number);
  assert.ok(connection !== undefined);
  await using server = await ServerProgram.ready(place.args, { fds: [connection.number] });
  connection.close();
  const driver = await connecting;
  await driver.read(0, 8);
  const { code } = await server.stop();
  assert.equal(code, 0);
  await assert.rejects(driver.read(0, 8));
});

test('the peer of a connected descriptor may have gone before', async () => {
  using place = new Place();
  const [ours, theirs] = createSocketPair();
  ours.close();
  const { code } = await runServerProgram(place.args, { fds: [theirs.number] });
  theirs.close();
  assert.equal(code, 0);
});

test('a descriptor that is no socket, or not open, is refused in one line', async () => {
  using place = new Place();
  using file = new Fd(openSync(place.imagePath, 'r'), 'image');
  const wrong = [
    { args: place.args, fds: [file.number] },
    { args: ['--fd=99', `--blk-file=${place.imagePath}`], fds: [] },
  ];
  for (const { args, fds } of wrong) {
    const { code, stderr } = await runServerProgram(args, { fds });
    assert.equal(code, 1);
    assert.match(stderr, /^vhost-user-blk: descriptor \d+ is no listening or connected .*\n$/);
  }
});
