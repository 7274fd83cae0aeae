/** The virtio-blk-vhost-user driver: back-ends that are missing, silent, wrong, or go away. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { Blkio, CompletionList, MemoryRegion } from '../../../src/blkio/index.ts';
import { SERVER_PLACE } from '../../support/blkio-place.ts';
import { doAll, resultName, WAIT_MS, withCode } from '../../support/blkio-queue-results.ts';
import { type CleanUp, imageFolder } from '../../support/image-folder.ts';

const UNIT = 4096;
const REQUESTS = 20;

/** A socket where something other than a back-end listens. */
async function listener(t: CleanUp, onClient: (client: Socket) => void): Promise<string> {
  const path = join(imageFolder(t), 'socket');
  const clients: Socket[] = [];
  const server: Server = createServer((client) => {
    clients.push(client);
    client.on('error', () => {});
    onClient(client);
  });
  server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    for (const client of clients) client.destroy();
    server.close();
  });
  return path;
}

function deviceAt(t: CleanUp, path: string, timeoutMs = 10_000): Blkio {
  const device = new Blkio('virtio-blk-vhost-user');
  t.after(() => device.close());
  device.set('path', path);
  device.set('timeout-ms', timeoutMs);
  return device;
}

suite('back-ends that cannot be used', () => {
  test('a socket where nobody listens: ECONNREFUSED', async (t) => {
    const path = join(imageFolder(t), 'socket');
    const server = createServer().listen(path);
    await once(server, 'listening');
    // Under another name it stays when the server ends.
    renameSync(path, `${path}-left`);
    server.close();
    await once(server, 'close');
    const device = deviceAt(t, `${path}-left`);
    await assert.rejects(device.connect(), withCode('ECONNREFUSED'));
    assert.equal(device.state, 'created');
  });

  test('no answer: ETIMEDOUT', async (t) => {
    const device = deviceAt(t, await listener(t, () => {}), 50);
    await assert.rejects(device.connect(), withCode('ETIMEDOUT'));
  });

  test('one that hangs up: ECONNRESET', async (t) => {
    const device = deviceAt(
      t,
      await listener(t, (client) => client.once('data', () => client.destroy())),
    );
    await assert.rejects(device.connect(), withCode('ECONNRESET'));
  });

  test('one that speaks something else: EPROTO', async (t) => {
    const device = deviceAt(
      t,
      await listener(t, (client) => client.write('HTTP/1.1 400 Bad Request\r\n\r\n')),
    );
    await assert.rejects(device.connect(), withCode('EPROTO'));
  });

  test('one without a configuration space: ENOTSUP', async (t) => {
    // GET_FEATURES is answered by VERSION_1 alone; nothing else of the handshake has an answer.
    const device = deviceAt(
      t,
      await listener(t, (client) =>
        client.once('data', () => {
          const reply = Buffer.alloc(20);
          reply.writeUInt32LE(1, 0);
          reply.writeUInt32LE(5, 4);
          reply.writeUInt32LE(8, 8);
          reply.writeBigUInt64LE(1n << 32n, 12);
          client.write(reply);
        }),
      ),
    );
    await assert.rejects(device.connect(), withCode('ENOTSUP'));
  });

  test('a path that is too long for a socket: EINVAL or ENAMETOOLONG', async (t) => {
    const device = deviceAt(t, `/tmp/${'x'.repeat(200)}`);
    await assert.rejects(device.connect(), (error: { code: string }) =>
      ['EINVAL', 'ENAMETOOLONG'].includes(error.code),
    );
  });

  test('timeouts that make no sense: EINVAL', (t) => {
    const device = deviceAt(t, 'socket');
    for (const value of [0, -1]) {
      assert.throws(() => device.set('timeout-ms', value), withCode('EINVAL'));
    }
  });
});

suite('back-ends that go away', () => {
  test('what is outstanding on a blocking queue fails: ECONNRESET', async () => {
    await using disk = await SERVER_PLACE.start();
    const queue = (await disk.started()).queue(0);
    doAll(queue, () => queue.flush());
    await disk.pauseBackend();
    for (let index = 0; index < REQUESTS; index++) queue.read(0, new Uint8Array(UNIT), index);
    const list = new CompletionList(REQUESTS);
    assert.equal(queue.doIo(list, 0), 0);
    void disk.killBackend();
    assert.equal(queue.doIo(list, REQUESTS, REQUESTS, WAIT_MS), REQUESTS);
    for (const result of list.results) assert.equal(resultName(result), 'ECONNRESET');
    assert.equal(new Set(list.userData).size, REQUESTS);
  });

  test('and so does what is asked for later', async () => {
    await using disk = await SERVER_PLACE.start();
    const queue = (await disk.started()).queue(0);
    void disk.killBackend();
    for (let round = 0; round < 3; round++) {
      queue.flush(round);
      const list = new CompletionList(1);
      assert.equal(queue.doIo(list, 1, 1, WAIT_MS), 1);
      assert.equal(resultName(list.results[0]), 'ECONNRESET');
    }
  });

  test('promises reject: ECONNRESET', async () => {
    await using disk = await SERVER_PLACE.start();
    const queue = (await disk.started({}, { 'queue-size': 4 })).asyncQueue(0);
    await queue.flush();
    await disk.pauseBackend();
    const requests = Array.from({ length: REQUESTS }, () => queue.read(0, new Uint8Array(UNIT)));
    const settled = Promise.allSettled(requests);
    void disk.killBackend();
    for (const result of await settled) {
      assert.equal(result.status, 'rejected');
      withCode('ECONNRESET')((result as PromiseRejectedResult).reason);
    }
    await assert.rejects(queue.flush(), withCode('ECONNRESET'));
  });

  test('a poll queue notices, too', async () => {
    await using disk = await SERVER_PLACE.start();
    const device = await disk.started({}, { 'num-queues': 0, 'num-poll-queues': 1 });
    const queue = device.pollQueue(0);
    await disk.pauseBackend();
    queue.flush();
    void disk.killBackend();
    const list = new CompletionList(1);
    assert.equal(queue.doIo(list, 1, 1, WAIT_MS), 1);
    assert.equal(resultName(list.results[0]), 'ECONNRESET');
  });

  test('the device can still be closed, and memory unmapped', async () => {
    await using disk = await SERVER_PLACE.start();
    using region = MemoryRegion.allocate(UNIT);
    const device = await disk.started();
    await device.mapRegion(region);
    const queue = device.queue(0);
    void disk.killBackend();
    queue.flush();
    queue.doIo(new CompletionList(1), 1, 1, WAIT_MS);
    await device.unmapRegion(region);
    await device.mapRegion(region);
    device.close();
  });

  test('starting when it is gone: ECONNRESET', async () => {
    await using disk = await SERVER_PLACE.start();
    const device = await disk.connected();
    await disk.killBackend();
    await assert.rejects(device.start(), withCode('ECONNRESET'));
    assert.equal(device.state, 'created');
  });
});
