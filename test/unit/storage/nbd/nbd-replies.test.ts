/** Replies in all forms the protocol has, and in those that it does not allow. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { nbd } from '../../../../src/storage/index.ts';
import { type FakeNbdRequest, FakeNbdServer } from '../../../support/fake-nbd-server.ts';
import { chunk, simpleReply, u } from '../../../support/nbd-messages.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { patternBytes } from '../../../support/request-bytes.ts';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const AT = 8192;
const LENGTH = 4096;
const DATA = Buffer.from(patternBytes(LENGTH));

type Answer = (request: FakeNbdRequest) => Buffer | undefined;

interface Opened extends AsyncDisposable {
  readonly server: FakeNbdServer;
  readonly disk: OpenedDisk;
}

/** A disk whose server answers as told; `undefined`: as it should. */
async function answering(answer: Answer, structured = true): Promise<Opened> {
  const server = await FakeNbdServer.start({
    ...(structured ? {} : { options: { 8: false } }),
    onRequest(request, connection) {
      const bytes = answer(request);
      if (bytes === undefined) return false;
      connection.send(bytes);
      return true;
    },
  });
  const disk = await OpenedDisk.open(nbd(server.uri, { reconnect: 0 }));
  return {
    server,
    disk,
    async [Symbol.asyncDispose]() {
      await disk[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function data(cookie: bigint, from: number, to: number, flags = 0): Buffer {
  return chunk(cookie, 1, flags, Buffer.concat([u(8, AT + from), DATA.subarray(from, to)]));
}

function hole(cookie: bigint, from: number, to: number, flags = 0): Buffer {
  return chunk(cookie, 2, flags, u(8, AT + from, 4, to - from));
}

function error(cookie: bigint, value: number, text = '', flags = 1): Buffer {
  return chunk(
    cookie,
    0x8001,
    flags,
    Buffer.concat([u(4, value, 2, text.length), Buffer.from(text)]),
  );
}

function errorAt(cookie: bigint, value: number, offset: number, flags = 1): Buffer {
  return chunk(cookie, 0x8002, flags, u(4, value, 2, 0, 8, offset));
}

function withHole(from: number, to: number): Buffer {
  return Buffer.from(DATA).fill(0, from, to);
}

suite('replies to NBD reads', () => {
  const right: [name: string, reply: (cookie: bigint) => Buffer[], expected?: Buffer][] = [
    ['one chunk', (c) => [data(c, 0, LENGTH, 1)]],
    ['one chunk, and an empty last one', (c) => [data(c, 0, LENGTH), chunk(c, 0, 1)]],
    ['chunks in order', (c) => [data(c, 0, 1000), data(c, 1000, 4000), data(c, 4000, LENGTH, 1)]],
    ['chunks in disorder', (c) => [data(c, 3000, LENGTH), data(c, 0, 7), data(c, 7, 3000, 1)]],
    ['a hole', (c) => [hole(c, 0, LENGTH, 1)], Buffer.alloc(LENGTH)],
    [
      'a hole between data',
      (c) => [data(c, 0, 512), data(c, 1024, LENGTH), hole(c, 512, 1024, 1)],
      withHole(512, 1024),
    ],
    ['an unknown flag', (c) => [data(c, 0, LENGTH, 0x8001)]],
  ];
  for (const [name, reply, expected = DATA] of right) {
    test(name, async () => {
      await using opened = await answering((request) =>
        request.type === READ ? Buffer.concat(reply(request.cookie)) : undefined,
      );
      assert.deepEqual(await opened.disk.read(AT, LENGTH), expected);
    });
  }

  test('bytes that come one by one', async () => {
    const server = await FakeNbdServer.start({
      async onRequest({ type, cookie }, { socket }) {
        if (type !== READ) return false;
        const reply = Buffer.concat([
          data(cookie, 0, 20),
          hole(cookie, 20, 4080),
          data(cookie, 4080, LENGTH, 1),
        ]);
        for (const byte of reply) {
          await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
        }
        return true;
      },
    });
    await using opened = await OpenedDisk.open(nbd(server.uri, { reconnect: 0 }));
    const found = await Promise.all([opened.read(AT, LENGTH), opened.read(AT, LENGTH)]);
    for (const each of found) assert.deepEqual(each, withHole(20, 4080));
    await server[Symbol.asyncDispose]();
  });

  test('replies in another order than requests', async () => {
    const held: FakeNbdRequest[] = [];
    await using opened = await answering((request) => {
      if (request.type !== READ) return undefined;
      held.push(request);
      if (held.length < 8) return Buffer.alloc(0);
      const parts = held
        .reverse()
        .map(({ cookie, offset, length }) =>
          chunk(cookie, 1, 1, Buffer.concat([u(8, offset), Buffer.alloc(length, offset / 512)])),
        );
      return Buffer.concat(parts);
    });
    const found = await Promise.all(
      Array.from({ length: 8 }, (_, index) => opened.disk.read(index * 512, 512)),
    );
    for (const [index, each] of found.entries()) {
      assert.deepEqual(each, Buffer.alloc(512, index));
    }
  });
});

suite('errors of NBD servers', () => {
  const values: [value: number, code: string][] = [
    [1, 'EPERM'],
    [5, 'EIO'],
    [12, 'ENOMEM'],
    [22, 'EINVAL'],
    [28, 'ENOSPC'],
    [75, 'EOVERFLOW'],
    [95, 'ENOTSUP'],
    [99, 'EINVAL'],
  ];
  for (const structured of [true, false]) {
    test(`each has its code, ${structured ? 'structured' : 'simple'}`, async () => {
      let value = 0;
      await using opened = await answering(
        ({ cookie }) => (structured ? error(cookie, value, 'why') : simpleReply(cookie, value)),
        structured,
      );
      for (const [number, code] of values) {
        value = number;
        for (const failing of [
          opened.disk.read(AT, LENGTH),
          opened.disk.access.write(DATA, AT),
          opened.disk.access.flush(),
        ]) {
          await assert.rejects(Promise.resolve(failing), { code });
        }
      }
      if (structured) assert.match(opened.disk.log.join('\n'), /answers ENOSPC: why/);
    });
  }

  test('an error amid data fails the read, and the connection goes on', async () => {
    let isBad = true;
    await using opened = await answering(({ type, cookie }) => {
      if (type !== READ || !isBad) return undefined;
      return Buffer.concat([
        data(cookie, 0, 512),
        errorAt(cookie, 5, AT + 600, 0),
        chunk(cookie, 0x80ff, 0, u(4, 28, 2, 0)),
        data(cookie, 1024, 2048, 1),
      ]);
    });
    await assert.rejects(opened.disk.read(AT, LENGTH), { code: 'EIO' });
    isBad = false;
    await opened.disk.read(AT, LENGTH);
    assert.equal(opened.server.connections.length, 1);
  });

  test('a server that shuts down is left', async () => {
    await using opened = await answering(({ cookie }) => simpleReply(cookie, 108));
    await assert.rejects(Promise.resolve(opened.disk.access.write(DATA, AT)), { code: 'EIO' });
    assert.match(opened.disk.log.join('\n'), /shutting down/);
  });
});

suite('replies that NBD does not allow', () => {
  type Reply = (cookie: bigint) => Buffer[];
  type Wrong = [name: string, message: RegExp, reply: Reply, structured?: boolean];
  const wrong: Wrong[] = [
    ['a wrong magic number', /wrong magic/, () => [Buffer.alloc(64, 0x42)]],
    ['structured, though not agreed on', /wrong magic/, (c) => [data(c, 0, LENGTH, 1)], false],
    ['simple, to a read', /a simple reply to a read/, (c) => [simpleReply(c, 0, DATA)]],
    ['a simple error to a read', /a simple reply to a read/, (c) => [simpleReply(c, 5)]],
    ['a cookie that is not under way', /not under way/, (c) => [data(c + 1n, 0, LENGTH, 1)]],
    ['a cookie with its high half', /not under way/, (c) => [data(c + 2n ** 32n, 0, LENGTH, 1)]],
    ['the largest cookie', /not under way/, () => [data(2n ** 64n - 1n, 0, LENGTH, 1)]],
    [
      'a cookie that rounds to another',
      /not under way/,
      (c) => [data(c + 2n ** 63n, 0, LENGTH, 1)],
    ],
    ['a second reply', /not under way/, (c) => [data(c, 0, LENGTH, 1), data(c, 0, LENGTH, 1)]],
    [
      'data before the range',
      /beyond what was asked/,
      (c) => [chunk(c, 1, 1, Buffer.concat([u(8, AT - 1), DATA]))],
    ],
    [
      'data behind the range',
      /beyond what was asked/,
      (c) => [chunk(c, 1, 1, Buffer.concat([u(8, AT + 1), DATA]))],
    ],
    [
      'data at 2^64 - 1',
      /beyond what was asked/,
      (c) => [chunk(c, 1, 1, Buffer.concat([Buffer.alloc(8, 255), DATA]))],
    ],
    [
      'a chunk longer than the read',
      /in a chunk of data for a read/,
      (c) => [chunk(c, 1, 1, Buffer.alloc(LENGTH + 9))],
    ],
    [
      'a chunk of 4 GiB',
      /in a chunk of data for a read/,
      (c) => [Buffer.concat([chunk(c, 1, 1).subarray(0, 16), u(4, 2 ** 32 - 1)])],
    ],
    ['a chunk of no data', /in a chunk of data for a read/, (c) => [chunk(c, 1, 1, u(8, AT))]],
    ['data twice', /come already/, (c) => [data(c, 0, LENGTH), data(c, 0, LENGTH, 1)]],
    ['data that overlaps', /come already/, (c) => [data(c, 0, 2048), data(c, 2047, LENGTH, 1)]],
    ['a hole over data', /come already/, (c) => [data(c, 0, 2048), hole(c, 0, LENGTH, 1)]],
    ['too little data', /less data/, (c) => [data(c, 0, LENGTH - 1, 1)]],
    ['a gap', /less data/, (c) => [data(c, 0, 100), data(c, 101, LENGTH, 1)]],
    ['no data', /less data/, (c) => [chunk(c, 0, 1)]],
    ['an empty hole', /beyond what was asked/, (c) => [hole(c, 0, 0), data(c, 0, LENGTH, 1)]],
    ['a hole behind the range', /beyond what was asked/, (c) => [hole(c, 0, LENGTH + 1, 1)]],
    ['a hole of 4 GiB', /beyond what was asked/, (c) => [chunk(c, 2, 1, u(8, AT, 4, 2 ** 32 - 1))]],
    ['a hole of a wrong length', /bytes for a hole/, (c) => [chunk(c, 2, 1, Buffer.alloc(16))]],
    ['an empty chunk that is not the last', /not the last/, (c) => [chunk(c, 0, 0)]],
    ['an empty chunk with something in it', /not the last/, (c) => [chunk(c, 0, 1, u(4, 0))]],
    ['a chunk of an unknown type', /type 7/, (c) => [chunk(c, 7, 1, u(4, 0))]],
    ['block status', /type 5/, (c) => [chunk(c, 5, 1, u(4, 0, 4, 1, 4, 1))]],
    ['an error of nothing', /without an error/, (c) => [chunk(c, 0x8001, 1, u(4, 0, 2, 0))]],
    [
      'an error chunk that is too short',
      /an error chunk of 4/,
      (c) => [chunk(c, 0x8001, 1, u(4, 5))],
    ],
    [
      'an error text longer than its chunk',
      /text longer/,
      (c) => [chunk(c, 0x8001, 1, u(4, 5, 2, 1))],
    ],
    [
      'an error chunk of 64 KiB',
      /an error chunk of 65536/,
      (c) => [chunk(c, 0x8001, 1, Buffer.alloc(65536, 1))],
    ],
    [
      'an error without its offset',
      /without the offset/,
      (c) => [chunk(c, 0x8002, 1, u(4, 5, 2, 0))],
    ],
    ['an error at an offset beyond', /beyond its request/, (c) => [errorAt(c, 5, AT + LENGTH + 1)]],
    [
      'the end, amid a chunk',
      /closed the connection/,
      (c) => [data(c, 0, LENGTH).subarray(0, 100)],
    ],
  ];
  for (const [name, message, reply, structured = true] of wrong) {
    test(name, async () => {
      await using opened = await answering(
        ({ type, cookie }) => (type === READ ? Buffer.concat(reply(cookie)) : undefined),
        structured,
      );
      const { disk, server } = opened;
      const reads = [disk.read(AT, LENGTH)];
      if (name.startsWith('the end')) setTimeout(() => server.hangUp(), 50);
      if (name === 'a second reply') {
        // The first one is right.
        await reads.pop();
        reads.push(disk.read(AT, LENGTH));
      }
      for (const read of reads) await assert.rejects(read, { code: 'EIO' });
      // It is over: nothing else is sent, and nothing hangs.
      await assert.rejects(disk.read(0, 512), { code: 'EIO' });
      await assert.rejects(Promise.resolve(disk.access.write(DATA, 0)), { code: 'EIO' });
      const log = disk.log.join('\n');
      assert.match(log, /all requests fail from now on/);
      assert.match(log, message);
    });
  }

  test('thousands of single bytes', async () => {
    await using opened = await answering(({ type, cookie }) => {
      if (type !== READ) return undefined;
      const parts = Array.from({ length: 5000 }, (_, at) =>
        chunk(cookie, 1, 0, Buffer.concat([u(8, AT + at * 2), Buffer.of(1)])),
      );
      return Buffer.concat(parts);
    });
    await assert.rejects(opened.disk.read(AT, 65536), { code: 'EIO' });
  });

  test('data in answer to a write', async () => {
    await using opened = await answering(({ type, cookie }) =>
      type === WRITE ? data(cookie, 0, LENGTH, 1) : undefined,
    );
    await assert.rejects(Promise.resolve(opened.disk.access.write(DATA, AT)), { code: 'EIO' });
  });

  test('data in answer to a flush', async () => {
    await using opened = await answering(({ type, cookie }) =>
      type === FLUSH ? hole(cookie, 0, LENGTH, 1) : undefined,
    );
    await assert.rejects(Promise.resolve(opened.disk.access.flush()), { code: 'EIO' });
  });
});
