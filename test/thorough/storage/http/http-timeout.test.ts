/** What `timeout` bounds: all of a read. Timers stand still unless a test lets them pass. */
import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type HttpParameters, http } from '../../../../src/storage/index.ts';
import { DeafListener } from '../../../support/deaf-listener.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { RangeServer, type RangeServerOptions } from '../../../support/range-server.ts';
import { assertSameBytes, patternBytes } from '../../../support/request-bytes.ts';

const MIB = 2 ** 20;
const BLOCK = 65_536;
const CONTENT = Buffer.from(patternBytes(MIB));
/** Far longer than the tests take, if it were the clock's. */
const TIMEOUT_MS = 60_000;
/** After it what has failed is tried again for the first time. */
const RETRY_MS = 50;
/** A test that waits for a clock fails. */
const LIMIT = { timeout: 20_000 };

interface Place {
  readonly server: RangeServer;
  readonly disk: OpenedDisk;
}

/** A disk, open, whose server then does what the test says. */
async function opened(
  t: TestContext,
  onRequest: RangeServerOptions['onRequest'],
  parameters: Omit<HttpParameters, 'url'> = {},
): Promise<Place> {
  const server = await RangeServer.start({ etag: '"one"', content: CONTENT });
  t.after(() => server[Symbol.asyncDispose]());
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const timeout = TIMEOUT_MS / 1000;
  const disk = await OpenedDisk.open(http(server.url, { readAhead: 0, timeout, ...parameters }));
  t.after(async () => {
    t.mock.timers.reset();
    await disk[Symbol.asyncDispose]();
  });
  server.ranges.splice(0);
  server.options = { ...server.options, ...(onRequest === undefined ? {} : { onRequest }) };
  return { server, disk };
}

/** Let the event loop turn until something has happened. */
async function turnsUntil(probe: () => boolean): Promise<void> {
  while (!probe()) await turns(1);
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

suite('the timeout of a web server', () => {
  test('is that of all reads, also those that wait for a connection', LIMIT, async (t) => {
    let isDeaf = true;
    const { server, disk } = await opened(t, () => isDeaf, { connections: 2 });
    const reads = Array.from({ length: 8 }, (_, number) => disk.read(number * 2 * BLOCK, 512));
    const failed = reads.map((read) => assert.rejects(read, { code: 'EIO' }));
    await turnsUntil(() => server.ranges.length === 2);
    t.mock.timers.tick(TIMEOUT_MS);
    await Promise.all(failed);
    assert.match(disk.log.join('\n'), /has not sent a range within 60 s/);
    assert.equal(server.ranges.length, 2, 'those in line have left it');
    isDeaf = false;
    assertSameBytes(await disk.read(0, 512), CONTENT.subarray(0, 512), 'later');
  });

  test('counts while data comes', LIMIT, async (t) => {
    let sent = 0;
    const { disk } = await opened(t, (_, response, [from, to]) => {
      response.writeHead(206, { 'content-range': `bytes ${from}-${to - 1}/${MIB}` });
      response.write('x', () => {
        sent += 1;
      });
      return true;
    });
    const failed = assert.rejects(disk.read(0, 512), { code: 'EIO' });
    await turnsUntil(() => sent === 1);
    await turns(10);
    t.mock.timers.tick(TIMEOUT_MS);
    await failed;
  });

  test('counts while there is no connection yet', LIMIT, async (t) => {
    await using hole = await DeafListener.start();
    const location = `http://127.0.0.1:${hole.port}/disk.img`;
    const { server, disk } = await opened(t, (_, response) =>
      Boolean(response.writeHead(302, { location }).end()),
    );
    const failed = assert.rejects(disk.read(0, 512), { code: 'EIO' });
    await turnsUntil(() => server.ranges.length === 1);
    await turns(20);
    t.mock.timers.tick(TIMEOUT_MS);
    await failed;
  });

  test('silence while connecting is noticed as on a connection', LIMIT, async (t) => {
    await using hole = await DeafListener.start();
    const url = `http://127.0.0.1:${hole.port}/disk.img`;
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const open = OpenedDisk.open(http(url, { timeout: 0.3 }));
    await assert.rejects(open, { code: 'DISK_REMOTE', message: /nothing has come for 0.3 s/ });
  });

  test('is that of opening too', LIMIT, async (t) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => {}));
      socket.once('data', () => socket.write('HTTP/1.1 206 Partial Content\r\n'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { port } = server.address() as { port: number };
    const open = OpenedDisk.open(http(`http://127.0.0.1:${port}/x`, { timeout: 60 }));
    const message = /the server has not answered within 60 s/;
    const failed = assert.rejects(open, { code: 'DISK_REMOTE', message });
    await turnsUntil(() => sockets.length === 1);
    await turns(10);
    t.mock.timers.tick(TIMEOUT_MS);
    await failed;
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  test('nothing is asked for when the disk is closed', LIMIT, async (t) => {
    const fail: RangeServerOptions['onRequest'] = (_, response, [from]) =>
      from >= 2 * BLOCK && Boolean(response.writeHead(503).end());
    const { server, disk } = await opened(t, fail, { readAhead: 4 * BLOCK });
    t.mock.timers.reset();
    await disk.read(0, BLOCK);
    await disk.read(BLOCK, BLOCK);
    await turnsUntil(() => server.ranges.some(([from]) => from >= 2 * BLOCK));
    disk.access.close();
    await disk.disk.close();
    // What was on its way has arrived.
    await sleep(RETRY_MS);
    const { length } = server.ranges;
    await sleep(6 * RETRY_MS);
    assert.equal(server.ranges.length, length);
  });
});
