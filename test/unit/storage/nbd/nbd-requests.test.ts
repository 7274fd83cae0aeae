/** What an NBD server is asked for: commands, flags, pieces, connections. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { nbd, openDisk } from '../../../../src/storage/index.ts';
import { nbdObject } from '../../../../src/storage/nbd/nbd-disk.ts';
import { NbdLink } from '../../../../src/storage/nbd/nbd-link.ts';
import { parseNbdUri } from '../../../../src/storage/nbd/nbd-uri.ts';
import { eventually } from '../../../support/eventually.ts';
import {
  type FakeNbdOptions,
  type FakeNbdRequest,
  FakeNbdServer,
} from '../../../support/fake-nbd-server.ts';
import { ALL_FLAGS, FLAGS, simpleReply } from '../../../support/nbd-messages.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { assertSameBytes, patternBytes } from '../../../support/request-bytes.ts';

const MIB = 2 ** 20;
const [READ, WRITE, DISC, FLUSH, TRIM, ZEROES] = [0, 1, 2, 3, 4, 6];
const [FUA, NO_HOLE, FAST_ZERO] = [1, 2, 16];

interface Cleaner {
  after(clean: () => Promise<void>): void;
}

async function start(t: Cleaner, options: FakeNbdOptions = {}): Promise<FakeNbdServer> {
  const server = await FakeNbdServer.start(options);
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}

function shown(requests: readonly FakeNbdRequest[]): number[][] {
  return requests.map(({ type, flags, offset, length }) => [type, flags, offset, length]);
}

suite('requests to NBD servers', () => {
  test('each method is a command with its flags', async (t) => {
    const server = await start(t);
    await using disk = await OpenedDisk.open(nbd(server.uri));
    const { access } = disk;
    await access.write(Buffer.alloc(512), 512);
    await access.write(Buffer.alloc(512), 1024, { stable: true });
    await access.read(Buffer.alloc(512), 512);
    await access.discard(4096, 8192);
    await access.discard(4096, 8192, { stable: true });
    await access.writeZeroes(4096, 8192);
    await access.writeZeroes(4096, 8192, { mayUnmap: true, stable: true });
    await access.writeZeroes(4096, 8192, { mayUnmap: true, mustBeFast: true });
    await access.flush();
    assert.deepEqual(shown(server.requests), [
      [WRITE, 0, 512, 512],
      [WRITE, FUA, 1024, 512],
      [READ, 0, 512, 512],
      [TRIM, 0, 4096, 8192],
      [TRIM, FUA, 4096, 8192],
      [ZEROES, NO_HOLE, 4096, 8192],
      [ZEROES, FUA, 4096, 8192],
      [ZEROES, FAST_ZERO, 4096, 8192],
      [FLUSH, 0, 0, 0],
    ]);
  });

  test('without FUA a stable write is flushed; without fast zeroes they are refused', async (t) => {
    const server = await start(t, { flags: ALL_FLAGS & ~FLAGS.fua & ~FLAGS.fastZero });
    await using disk = await OpenedDisk.open(nbd(server.uri));
    await disk.access.write(Buffer.alloc(512), 512, { stable: true });
    const fast = disk.access.writeZeroes(0, 512, { mustBeFast: true });
    await assert.rejects(Promise.resolve(fast), { code: 'ENOTSUP' });
    assert.deepEqual(disk.log, [], 'that it would be slow is an answer, not a fault');
    assert.deepEqual(shown(server.requests), [
      [WRITE, 0, 512, 512],
      [FLUSH, 0, 0, 0],
    ]);
  });

  test('a read-only disk is not written, and the export may be written', async (t) => {
    const server = await start(t);
    const disk = await openDisk(nbd(server.uri), { readOnly: true });
    assert.equal(disk.info.readOnly, true);
    await disk.close();
  });

  test('data is cut to what the server takes at once', async (t) => {
    const server = await start(t, { blockSizes: [512, 4096, 5000] });
    await using disk = await OpenedDisk.open(nbd(server.uri));
    const data = patternBytes(12_288);
    await disk.access.write(data, 1024);
    assertSameBytes(await disk.read(1024, data.length), data, 'read');
    const cut = [
      [0, 1024, 4608],
      [0, 5632, 4608],
      [0, 10_240, 3072],
    ];
    const commands = shown(server.requests);
    const withType = (type: number) =>
      commands.filter(([each]) => each === type).map(([, ...rest]) => rest);
    assert.deepEqual(withType(WRITE), cut);
    assert.deepEqual(withType(READ), cut);
  });

  test('one piece that fails fails all, when the others are done', async (t) => {
    let open = 0;
    const server = await start(t, {
      blockSizes: [512, 512, 4096],
      async onRequest({ type, cookie, offset }, connection) {
        if (type !== WRITE) return false;
        open += 1;
        if (offset === 0) {
          connection.send(simpleReply(cookie, 28));
          return true;
        }
        return false;
      },
    });
    await using disk = await OpenedDisk.open(nbd(server.uri));
    await assert.rejects(Promise.resolve(disk.access.write(Buffer.alloc(16_384, 1), 0)), {
      code: 'ENOSPC',
    });
    assert.equal(open, 4);
  });

  test('large ranges without data are cut at 1 GiB', async (t) => {
    const sizeBytes = 3 * 2 ** 30;
    const server = await start(t, {
      options: {},
      onRequest({ type, cookie }, connection) {
        if (type !== TRIM) return false;
        connection.send(simpleReply(cookie));
        return true;
      },
      claimedBytes: sizeBytes,
    });
    await using disk = await OpenedDisk.open(nbd(server.uri));
    await disk.access.discard(512, sizeBytes - 512);
    assert.deepEqual(
      server.requests.map(({ length }) => length),
      [2 ** 30, 2 ** 30, 2 ** 30 - 512],
    );
  });

  test('an export of odd size: the rest of its last sector reads as zeros', async (t) => {
    const server = await start(t, { sizeBytes: 1300 });
    server.content.fill(7);
    await using disk = await OpenedDisk.open(nbd(server.uri));
    assert.equal(disk.disk.info.sizeBytes, 1536);
    const expected = Buffer.alloc(1536).fill(7, 0, 1300);
    assert.deepEqual(await disk.read(0, 1536), expected);
    assert.deepEqual(await disk.read(1024, 512), expected.subarray(1024));
    await disk.access.write(Buffer.alloc(512, 9), 1024);
    await disk.access.writeZeroes(1024, 512);
    await disk.access.discard(0, 1536);
    assert.ok(server.requests.every(({ offset, length }) => offset + length <= 1300));
    assert.ok(server.content.subarray(0, 1300).every((byte) => byte === 0));
  });

  test('memory in pieces, also across the pieces of a request', async (t) => {
    const server = await start(t, { blockSizes: [512, 4096, 4096] });
    const link = await NbdLink.open({
      ...{ address: parseNbdUri(server.uri), tls: undefined, timeoutMs: 0 },
      ...{ connections: 1, reconnectMs: 0 },
    });
    const object = nbdObject(link, '');
    const request = { stable: false, mayUnmap: false, mustBeFast: false } as never;
    const data = patternBytes(9216);
    const cut = (bytes: Uint8Array) =>
      [0, 1, 700, 4096, 8000, 8191].map((at, index, all) =>
        bytes.subarray(at, all[index + 1] ?? bytes.length),
      );
    await object.writev?.(cut(data), 512, request);
    assertSameBytes(server.content.subarray(512, 512 + data.length), data, 'written');
    const found = new Uint8Array(data.length);
    await object.readv?.(cut(found), 512, request);
    assertSameBytes(found, data, 'read');
    await object.close?.();
  });

  test('a reply that comes before its data is sent waits for it', async (t) => {
    // More than the kernel's buffers take, of which the server reads nothing at first.
    const data = patternBytes(4 * MIB);
    let isSettled = false;
    const server = await start(t, { sizeBytes: 8 * MIB, readsDataLate: true });
    await using disk = await OpenedDisk.open(nbd(server.uri, { reconnect: 0 }));
    const write = Promise.resolve(disk.access.write(data, 0)).then(() => {
      isSettled = true;
    });
    await eventually('the reply', () => server.repliedEarly);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(isSettled, false, 'the memory is still being sent from');
    server.readOn();
    await write;
    const written = server.content.subarray(0, data.length);
    await eventually('the data', () => Buffer.compare(written, data) === 0);
  });
});

suite('connections to an NBD server', () => {
  test('are several if it can have them, and requests are spread', async (t) => {
    const held: (() => void)[] = [];
    const used = new Set<unknown>();
    const server = await start(t, {
      flags: ALL_FLAGS | FLAGS.multiConn,
      onRequest(request, connection) {
        if (request.type !== READ) return false;
        used.add(connection);
        held.push(() => server.answer(request, connection));
        return true;
      },
    });
    await using disk = await OpenedDisk.open(nbd(server.uri, { connections: 3 }));
    assert.equal(server.connections.length, 3);
    assert.match(disk.disk.description, /3 connections/);
    const reads = Array.from({ length: 6 }, (_, index) => disk.read(index * 512, 512));
    await eventually('all requests', () => held.length === 6);
    assert.equal(used.size, 3);
    for (const answer of held) answer();
    await Promise.all(reads);
  });

  test('are one if it cannot', async (t) => {
    const server = await start(t);
    await using disk = await OpenedDisk.open(nbd(server.uri, { connections: 3 }));
    assert.equal(server.connections.length, 1);
    assert.doesNotMatch(disk.disk.description, /connections/);
  });

  test('end with a goodbye', async (t) => {
    const server = await start(t, { flags: ALL_FLAGS | FLAGS.multiConn });
    const disk = await openDisk(nbd(server.uri, { connections: 2 }));
    await disk.close();
    assert.deepEqual(shown(server.requests), [
      [DISC, 0, 0, 0],
      [DISC, 0, 0, 0],
    ]);
  });

  test('end though the server does not hang up', async (t) => {
    const server = await start(t, { onRequest: ({ type }) => type === DISC });
    const disk = await openDisk(nbd(server.uri));
    await disk.close();
  });

  test('many requests go out together', async (t) => {
    const server = await start(t);
    await using disk = await OpenedDisk.open(nbd(server.uri));
    await Promise.all(
      Array.from({ length: 1000 }, (_, index) => disk.read((index % 2048) * 512, 512)),
    );
    assert.equal(server.requests.length, 1000);
    assert.equal(new Set(server.requests.map(({ cookie }) => cookie)).size, 1000);
  });
});
