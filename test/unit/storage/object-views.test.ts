/** What the methods of a disk object get of a guest's memory, and for how long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DiskObject, DiskOperation } from '../../../src/storage/index.ts';
import { ObjectDisk } from '../../../src/storage/object/object-disk.ts';
import { Errno } from '../../../src/sys/index.ts';
import { ChannelSession } from '../../support/channel-session.ts';
import type { Request } from '../../support/disk-session.ts';
import { HeldObject } from '../../support/held-object.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';

const { READ, WRITE } = DiskOperation;
const PIECES = [
  { at: 100, bytes: 512 },
  { at: 5000, bytes: 1 },
  { at: 9000, bytes: 1023 },
];
const ONE_PIECE = [{ at: 300, bytes: 1024 }];

const request = (operation: number, pieces: Request['pieces'] = ONE_PIECE): Request => ({
  operation,
  offset: 4096,
  pieces: pieces ?? [],
});

/** All bytes of pieces, one after the other. */
function bytesOf(
  session: ChannelSession,
  pieces: readonly { at: number; bytes: number }[],
): Buffer {
  return Buffer.concat(pieces.map(({ at, bytes }) => session.memory.subarray(at, at + bytes)));
}

test('a method fills the memory of the guest itself', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const end = session.run(request(READ));
  await object.expect('read 4096');
  const [buffer] = object.calls[0].buffers;
  assert.equal(buffer.length, 1024);
  buffer.fill(6, 10, 20);
  assert.deepEqual([...session.memory.subarray(309, 321)], [0, ...new Array(10).fill(6), 0]);
  session.memory[300] = 77;
  assert.equal(buffer[0], 77);
  object.let();
  await end;
});

test('a method writes what is in the memory of the guest', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const end = session.run(request(WRITE));
  await object.expect('write 4096');
  session.memory.fill(5, 300, 1324);
  assert.ok(object.calls[0].buffers[0].every((byte) => byte === 5));
  object.let();
  await end;
});

for (const ending of ['resolve', 'reject'] as const) {
  test(`what a method keeps of a buffer has no bytes after it has settled: ${ending}`, async () => {
    const object = new HeldObject();
    using session = new ChannelSession(new ObjectDisk(object));
    const end = session.run(request(READ));
    await object.expect('read 4096');
    const [buffer] = object.calls[0].buffers;
    const part = buffer.subarray(16, 32);
    const words = new DataView(buffer.buffer, buffer.byteOffset);
    const whole = new Uint8Array(buffer.buffer);
    if (ending === 'resolve') object.let();
    else object.fail(new Error('no'));
    assert.equal(await end, ending === 'resolve' ? 0 : -Errno.EIO);
    assert.deepEqual([buffer.length, part.length, whole.length], [0, 0, 0]);
    session.memory.fill(1, 0, 2048);
    buffer[0] = 9;
    part[0] = 9;
    for (const use of [() => words.setUint8(0, 9), () => whole.fill(9), () => buffer.set([9])]) {
      assert.throws(use, TypeError);
    }
    assert.ok(session.memory.subarray(0, 2048).every((byte) => byte === 1));
  });
}

test('what a method keeps that has settled within the call has no bytes', async () => {
  const kept: Uint8Array[] = [];
  const keep = (buffer: Uint8Array): void => {
    kept.push(buffer);
  };
  const failing = (buffer: Uint8Array): void => {
    kept.push(buffer);
    throw new Error('no');
  };
  using session = new ChannelSession(
    new ObjectDisk({ sizeBytes: 65536, read: keep, write: failing }),
  );
  assert.equal(await session.run(request(READ)), 0);
  assert.equal(await session.run(request(WRITE)), -Errno.EIO);
  assert.deepEqual(
    kept.map(({ length }) => length),
    [0, 0],
  );
});

test('memory in pieces is a copy in one for read and write', async () => {
  const seen: Uint8Array[] = [];
  const object: DiskObject = {
    sizeBytes: 65536,
    read(buffer) {
      assert.equal(buffer.length, 1536);
      buffer.forEach((_, at) => {
        buffer[at] = at % 251;
      });
    },
    write(buffer) {
      seen.push(buffer.slice());
    },
  };
  using session = new ChannelSession(new ObjectDisk(object));
  assert.equal(await session.run(request(READ, PIECES)), 0);
  const expected = Buffer.from(Array.from({ length: 1536 }, (_, at) => at % 251));
  assert.ok(bytesOf(session, PIECES).equals(expected));
  assert.equal(await session.run(request(WRITE, PIECES)), 0);
  assert.ok(expected.equals(seen[0]));
});

test('a read of memory in pieces that fails leaves the memory as it was', async () => {
  const object: DiskObject = {
    sizeBytes: 65536,
    read(buffer) {
      buffer.fill(1);
      throw new Error('no');
    },
  };
  using session = new ChannelSession(new ObjectDisk(object));
  assert.equal(await session.run(request(READ, PIECES)), -Errno.EIO);
  assert.ok(bytesOf(session, PIECES).every((byte) => byte === 0));
});

test('readv and writev get the pieces themselves, until they settle', async () => {
  const kept: Uint8Array[] = [];
  const object: DiskObject = {
    sizeBytes: 65536,
    read: () => assert.fail('read'),
    write: () => assert.fail('write'),
    async readv(buffers) {
      kept.push(...buffers);
      assert.deepEqual(
        buffers.map(({ length }) => length),
        [512, 1, 1023],
      );
      await Promise.resolve();
      for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
      assert.equal(session.memory[5000], 2);
    },
    async writev(buffers) {
      kept.push(...buffers);
      await Promise.resolve();
      assert.equal(Buffer.concat(buffers).length, 1536);
      assert.equal(buffers[1][0], 2);
    },
  };
  using session = new ChannelSession(new ObjectDisk(object));
  assert.equal(await session.run(request(READ, PIECES)), 0);
  assert.equal(await session.run(request(WRITE, PIECES)), 0);
  assert.equal(session.memory[9000], 3);
  assert.ok(kept.every(({ length }) => length === 0));
});

test('pieces are taken back of a method, too, that has changed its list of them', async () => {
  const kept: Uint8Array[] = [];
  const object: DiskObject = {
    sizeBytes: 65536,
    read() {},
    async readv(buffers) {
      const list = buffers as Uint8Array[];
      while (list.length > 0) kept.push(list.shift() as Uint8Array);
    },
  };
  using session = new ChannelSession(new ObjectDisk(object));
  assert.equal(await session.run(request(READ, PIECES)), 0);
  assert.equal(kept.length, 3);
  assert.ok(kept.every(({ length }) => length === 0));
});

test('memory in one piece goes to read and write, also where there are readv and writev', async () => {
  const names: string[] = [];
  const object: DiskObject = {
    sizeBytes: 65536,
    read: () => void names.push('read'),
    write: () => void names.push('write'),
    readv: () => assert.fail('readv'),
    writev: () => assert.fail('writev'),
  };
  using session = new ChannelSession(new ObjectDisk(object));
  await session.run(request(READ));
  await session.run(request(WRITE));
  assert.deepEqual(names, ['read', 'write']);
});

test('a method that transfers its buffer fails, and its author is told', async () => {
  const logger = new RecordingLogger();
  const results: number[] = [];
  const posted = new Map<number, Uint8Array>();
  const object: DiskObject = {
    sizeBytes: 65536,
    read(buffer) {
      const { buffer: whole } = buffer as Uint8Array<ArrayBuffer>;
      posted.set(results.length, structuredClone(buffer, { transfer: [whole] }));
    },
  };
  const disk = new ObjectDisk(object);
  disk.useLogger(logger);
  using session = new ChannelSession(disk);
  for (let round = 0; round < 6; round++) results.push(await session.run(request(READ)));
  for (const [index, bytes] of posted) {
    session.memory.fill(0);
    bytes.fill(0x42);
    // Node.js may have made a copy of the memory, and left the buffer as it was.
    const isTheGuests = session.memory.some((byte) => byte !== 0);
    if (isTheGuests) assert.equal(results[index], -Errno.EIO);
  }
  assert.ok(results.includes(-Errno.EIO));
  const told = logger.errors.filter((line) => /read .* failed: .*its buffer/.test(line));
  assert.equal(told.length, 1, logger.errors.join('\n'));
});

test('requests that are no whole blocks come as whole blocks', async () => {
  const memory = new Uint8Array(65536).map((_, at) => at >> 9);
  const calls: string[] = [];
  const object: DiskObject = {
    sizeBytes: memory.length,
    logicalBlockBytes: 4096,
    async read(buffer, offset) {
      calls.push(`read ${buffer.length} at ${offset}`);
      await Promise.resolve();
      buffer.set(memory.subarray(offset, offset + buffer.length));
    },
    async write(buffer, offset) {
      calls.push(`write ${buffer.length} at ${offset}`);
      await Promise.resolve();
      memory.set(buffer, offset);
    },
  };
  using session = new ChannelSession(new ObjectDisk(object));
  const sector = [{ at: 0, bytes: 512 }];
  assert.equal(await session.run({ operation: READ, offset: 4096 + 1024, pieces: sector }), 0);
  assert.ok(session.memory.subarray(0, 512).every((byte) => byte === 10));
  session.memory.fill(0xcc, 0, 512);
  const pieces = [
    { at: 0, bytes: 256 },
    { at: 8192, bytes: 4096 + 256 },
  ];
  session.memory.fill(0xdd, 8192, 16384);
  // The same block at the same time: neither loses what the other writes.
  const ends = [
    session.run({ operation: WRITE, offset: 8192 - 512, pieces: sector }),
    session.run({ operation: WRITE, offset: 8192 + 512, pieces }),
    session.run({ operation: WRITE, offset: 8192, pieces: sector }),
  ];
  assert.deepEqual(await Promise.all(ends), [0, 0, 0]);
  assert.deepEqual(calls.slice(0, 1), ['read 4096 at 4096']);
  assert.ok(
    calls.every((call) => /(4096|8192) at (4096|8192)$/.test(call)),
    calls.join(),
  );
  const expected = new Uint8Array(65536).map((_, at) => at >> 9);
  expected.fill(0xcc, 7680, 8704);
  expected.fill(0xcc, 8704, 8704 + 256);
  expected.fill(0xdd, 8704 + 256, 8704 + 4608);
  assert.deepEqual(Buffer.compare(memory, expected), 0);
});
