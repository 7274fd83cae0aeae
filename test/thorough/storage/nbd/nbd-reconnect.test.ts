/** NBD servers that are lost, and come back without what was not flushed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type NbdParameters, nbd, openDisk } from '../../../../src/storage/index.ts';
import { eventually } from '../../../support/eventually.ts';
import { type FakeNbdOptions, FakeNbdServer } from '../../../support/fake-nbd-server.ts';
import { ALL_FLAGS, FLAGS, simpleReply } from '../../../support/nbd-messages.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { assertSameBytes, patternBytes } from '../../../support/request-bytes.ts';

const MIB = 2 ** 20;
const [READ, WRITE, FLUSH] = [0, 1, 3];
const MULTI = ALL_FLAGS | FLAGS.multiConn;

interface Opened extends AsyncDisposable {
  readonly server: FakeNbdServer;
  readonly disk: OpenedDisk;
  /** Requests of a type that the server has got. */
  count(type: number): number;
}

async function opened(
  options: FakeNbdOptions = {},
  parameters: Omit<NbdParameters, 'uri'> = {},
): Promise<Opened> {
  const server = await FakeNbdServer.start(options);
  const disk = await OpenedDisk.open(nbd(server.uri, parameters));
  return {
    server,
    disk,
    count: (type) => server.requests.filter((request) => request.type === type).length,
    async [Symbol.asyncDispose]() {
      await disk[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function write(disk: OpenedDisk, offset: number, value: number, stable = false): Promise<void> {
  return Promise.resolve(disk.access.write(Buffer.alloc(4096, value), offset, { stable }));
}

suite('an NBD server that is lost', () => {
  test('requests under way are sent again, and new ones wait', async () => {
    let isDeaf = true;
    await using it = await opened({
      flags: MULTI,
      onRequest: ({ type }) => isDeaf && (type === READ || type === WRITE),
    });
    it.server.content.fill(3);
    const read = it.disk.read(0, 4096);
    const written = write(it.disk, 8192, 5);
    await eventually('both', () => it.server.requests.length === 2);
    it.server.stable.set(it.server.content);
    await it.server.crash();
    const later = it.disk.read(4096, 4096);
    isDeaf = false;
    await it.server.restart();
    assert.deepEqual(await read, Buffer.alloc(4096, 3));
    await written;
    assert.deepEqual(await later, Buffer.alloc(4096, 3));
    assert.equal(it.server.content[8192], 5);
    assert.match(it.disk.log.join('\n'), /warn: .*requests wait for it[\s\S]*info: .*is back/);
  });

  test('what was not flushed is written again, in an order that ends in the same', async () => {
    await using it = await opened({ flags: MULTI });
    const { access } = it.disk;
    await write(it.disk, 0, 1);
    await access.flush();
    await write(it.disk, 4096, 2);
    await write(it.disk, 4096, 3);
    await write(it.disk, 8192, 4);
    // Stable, and over an older one that is not.
    await write(it.disk, 8192, 5, true);
    await access.writeZeroes(4096, 512);
    await write(it.disk, 12_288, 6);
    const expected = Buffer.from(it.server.content);
    await it.server.crash();
    assert.notDeepEqual(it.server.content, expected, 'the crash has lost something');
    await it.server.restart();
    await it.disk.read(0, 512);
    assertSameBytes(it.server.content, expected, 'content');
    await access.flush();
    assertSameBytes(it.server.stable, expected, 'flushed');
    assert.match(it.disk.log.join('\n'), /6 writes that were not flushed have been repeated/);
  });

  test('random writes over many crashes: all that was acknowledged is there', async () => {
    await using it = await opened({ flags: MULTI }, { connections: 3 });
    const model = Buffer.alloc(MIB);
    let isOver = false;
    const lane = async (number: number): Promise<void> => {
      for (let round = 0; !isOver; round++) {
        const offset = ((round * 7 + number * 13) % 32) * 32_768 + number * 4096;
        const data = patternBytes(4096, round + number);
        await it.disk.access.write(data, offset, { stable: round % 9 === 0 });
        model.set(data, offset);
        if (round % 40 === 39) await it.disk.access.flush();
      }
    };
    const lanes = Promise.all(Array.from({ length: 8 }, (_, number) => lane(number)));
    for (let crash = 0; crash < 8; crash++) {
      await sleep(60);
      if (crash % 3 === 2) it.server.hangUp();
      else {
        await it.server.crash();
        await it.server.restart();
      }
    }
    isOver = true;
    await lanes;
    assertSameBytes(await it.disk.read(0, MIB), model, 'content');
    await it.disk.access.flush();
    assertSameBytes(it.server.stable, model, 'flushed');
  });

  test('a flush covers what was acknowledged before it, no more', async () => {
    let held: (() => void) | undefined;
    await using it = await opened({
      onRequest(request, connection) {
        if (request.type !== FLUSH || held !== undefined) return false;
        it.server.content.copy(it.server.stable);
        held = () => connection.send(simpleReply(request.cookie));
        return true;
      },
    });
    await write(it.disk, 0, 1);
    const flush = Promise.resolve(it.disk.access.flush());
    await eventually('the flush', () => held);
    await write(it.disk, 4096, 2);
    held?.();
    await flush;
    await it.server.crash();
    await it.server.restart();
    await it.disk.read(0, 512);
    assert.deepEqual([it.server.content[0], it.server.content[4096]], [1, 2]);
    assert.match(it.disk.log.join('\n'), /back, 1 write/);
  });

  test('what is not flushed has a limit: it is flushed without being asked', async () => {
    await using it = await opened({ sizeBytes: 8 * MIB });
    for (let count = 0; count < 100; count++) {
      await it.disk.access.write(Buffer.alloc(MIB, count + 1), (count % 8) * MIB);
    }
    const flushes = it.count(FLUSH);
    assert.ok(flushes >= 2 && flushes <= 4, `${flushes} flushes`);
  });

  test('of a flush that was not asked for, the next one tells the failure', async () => {
    let isBad = true;
    await using it = await opened({
      sizeBytes: 8 * MIB,
      onRequest({ type, cookie }, connection) {
        if (type !== FLUSH || !isBad) return false;
        connection.send(simpleReply(cookie, 28));
        return true;
      },
    });
    for (let count = 0; count < 100; count++) {
      await it.disk.access.write(Buffer.alloc(MIB, 1), (count % 8) * MIB);
    }
    isBad = false;
    await assert.rejects(Promise.resolve(it.disk.access.flush()), { code: 'ENOSPC' });
    await it.disk.access.flush();
  });

  test('repeating what was not flushed fails: the next flush tells', async () => {
    let isFull = false;
    await using it = await opened({
      onRequest({ type, cookie }, connection) {
        if (type !== WRITE || !isFull) return false;
        connection.send(simpleReply(cookie, 28));
        return true;
      },
    });
    await write(it.disk, 0, 1);
    await it.server.crash();
    isFull = true;
    await it.server.restart();
    await it.disk.read(0, 512);
    await assert.rejects(Promise.resolve(it.disk.access.flush()), { code: 'ENOSPC' });
    assert.match(it.disk.log.join('\n'), /error: .*writing again what was not flushed failed/);
    await it.disk.access.flush();
  });

  test('repeating fails: nothing else is sent before all that is repeated has ended', async () => {
    let isBack = false;
    let held: (() => void) | undefined;
    await using it = await opened({
      onRequest(request, connection) {
        if (request.type !== WRITE || !isBack) return false;
        isBack = request.offset === 0;
        if (isBack) connection.send(simpleReply(request.cookie, 28));
        else held = () => it.server.answer(request, connection);
        return true;
      },
    });
    await write(it.disk, 0, 1);
    await write(it.disk, 4096, 1);
    await it.server.crash();
    isBack = true;
    const newer = write(it.disk, 4096, 2);
    await it.server.restart();
    await eventually('the second of those repeated', () => held);
    await sleep(50);
    assert.equal(it.count(WRITE), 4, 'two, and two again');
    held?.();
    await newer;
    assert.equal(it.server.content[4096], 2);
  });

  test('lost again while it is told what it had', async () => {
    let losses = 3;
    await using it = await opened({
      onRequest({ type }) {
        const isLast = it.server.requests.length > 20;
        if (type !== WRITE || !isLast || losses === 0) return false;
        losses -= 1;
        it.server.hangUp();
        return true;
      },
    });
    for (let count = 0; count < 20; count++) await write(it.disk, count * 4096, count + 1);
    const expected = Buffer.from(it.server.content);
    await it.server.crash();
    await it.server.restart();
    await it.disk.read(0, 512);
    assert.equal(losses, 0);
    assertSameBytes(it.server.content, expected, 'content');
  });

  test('one connection of several: all are made anew', async () => {
    await using it = await opened({ flags: MULTI }, { connections: 3 });
    it.server.connections[1].socket.destroy();
    await eventually('new ones', () => it.server.connections.length === 6);
    await it.disk.read(0, 512);
  });

  test('requests fail when the time is over, and are done when it is back', async () => {
    await using it = await opened({}, { reconnect: 4 });
    await write(it.disk, 0, 1);
    await it.server.crash();
    await assert.rejects(it.disk.read(0, 512), { code: 'EIO' });
    const startMs = performance.now();
    await assert.rejects(it.disk.read(0, 512), { code: 'EIO' });
    assert.ok(performance.now() - startMs < 3000, 'at once');
    assert.match(it.disk.log.join('\n'), /error: .*requests fail until it is back/);
    await it.server.restart();
    await eventually('it is back', () =>
      it.disk.log.some((line) => /the server is back/.test(line)),
    );
    await it.disk.read(0, 512);
    assert.equal(it.server.content[0], 1, 'also what had been acknowledged');
  });

  test('a server that has become another is not used', async () => {
    await using it = await opened({}, { reconnect: 2 });
    await it.server.crash();
    it.server.options = { claimedBytes: 2 * MIB };
    await it.server.restart();
    await assert.rejects(it.disk.read(0, 512), { code: 'EIO' });
    const said = /what the server offers is not what it was/;
    await eventually('it is said', () => it.disk.log.some((line) => said.test(line)));
  });

  test('without reconnecting all fails', async () => {
    await using it = await opened({ onRequest: ({ type }) => type === READ }, { reconnect: 0 });
    const read = it.disk.read(0, 512);
    await eventually('the request', () => it.count(READ) === 1);
    it.server.hangUp();
    await assert.rejects(read, { code: 'EIO' });
    await assert.rejects(write(it.disk, 0, 1), { code: 'EIO' });
    assert.equal(it.server.connections.length, 0);
  });

  test('silence counts as a loss, while something is under way', async () => {
    let isDeaf = true;
    await using it = await opened(
      { onRequest: ({ type }) => isDeaf && type === READ },
      {
        timeout: 0.2,
      },
    );
    await sleep(400);
    assert.equal(it.server.connections.length, 1, 'nothing was under way');
    const read = it.disk.read(0, 512);
    await eventually('another connection', () => it.server.connections.length >= 2);
    isDeaf = false;
    await read;
    assert.match(it.disk.log.join('\n'), /nothing has come for 0.2 s/);
  });

  test('a disk is closed while a server is being connected to', { timeout: 10_000 }, async () => {
    const server = await FakeNbdServer.start();
    const disk = await openDisk(nbd(server.uri));
    await server.crash();
    server.options = { greet: () => {} };
    await server.restart();
    const { socket } = await eventually('a connection', () => server.connections[0]);
    const closed = once(socket, 'close');
    await disk.close();
    await closed;
    await server[Symbol.asyncDispose]();
  });

  test('a disk is closed while its server is away', async () => {
    const server = await FakeNbdServer.start();
    const disk = await openDisk(nbd(server.uri));
    await server.crash();
    await sleep(30);
    await disk.close();
    await server[Symbol.asyncDispose]();
  });
});
