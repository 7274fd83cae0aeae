/** In which order a disk object gets its requests, how many at a time, and for how long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DiskOperation, type ObjectRequest } from '../../../src/storage/index.ts';
import { ObjectDisk } from '../../../src/storage/object/object-disk.ts';
import { Errno } from '../../../src/sys/index.ts';
import { ChannelSession } from '../../support/channel-session.ts';
import type { Request } from '../../support/disk-session.ts';
import { HeldObject } from '../../support/held-object.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';

const { READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES } = DiskOperation;

const transfer = (operation: number, offset: number, bytes = 1024): Request => ({
  operation,
  offset,
  pieces: [{ at: offset, bytes }],
});
const read = (offset: number, bytes?: number): Request => transfer(READ, offset, bytes);
const write = (offset: number, bytes?: number): Request => transfer(WRITE, offset, bytes);
const range = (operation: number, offset: number, length = 1024): Request => ({
  operation,
  offset,
  length,
});
const FLUSH_ALL: Request = { operation: FLUSH };

test('requests that touch different bytes come at once', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const ends = [write(0), write(1024), read(2048), range(DISCARD, 3072)].map((request) =>
    session.run(request),
  );
  await object.expect('write 0', 'write 1024', 'read 2048', 'discard 3072');
  for (const name of object.names.reverse()) object.let(name);
  assert.deepEqual(await Promise.all(ends), [0, 0, 0, 0]);
});

test('reads of the same bytes come at once', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const ends = [read(0), read(512), read(0)].map((request) => session.run(request));
  await object.expect('read 0', 'read 512', 'read 0');
  while (object.calls.length > 0) object.let();
  await Promise.all(ends);
});

test('requests that change the same bytes come in the order of their arrival', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const requests = [
    write(0),
    write(512),
    read(1024, 512),
    range(WRITE_ZEROES, 0),
    range(DISCARD, 512, 512),
    write(0, 2048),
  ];
  const ends = requests.map((request) => session.run(request));
  await object.expect('write 0');
  object.let();
  await object.expect('write 512');
  object.let();
  await object.expect('read 1024', 'writeZeroes 0');
  object.let('writeZeroes 0');
  await object.expect('read 1024', 'discard 512');
  object.let('discard 512');
  // It waits for the read of what it is to change.
  await object.expect('read 1024');
  object.let();
  await object.expect('write 0');
  object.let();
  assert.deepEqual(await Promise.all(ends), [0, 0, 0, 0, 0, 0]);
});

test('a read after a write gives what was written, also if the write fails', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const ends = [write(0), read(0)].map((request) => session.run(request));
  await object.expect('write 0');
  object.fail(new Error('no'));
  await object.expect('read 0');
  object.let();
  assert.deepEqual(await Promise.all(ends), [-Errno.EIO, 0]);
});

test('a flush waits for the changes before it, and for nothing else', async () => {
  const object = new HeldObject();
  using session = new ChannelSession(new ObjectDisk(object));
  const ends = [write(0), read(2048), range(DISCARD, 4096), FLUSH_ALL, write(8192)].map((request) =>
    session.run(request),
  );
  // A later write does not wait for the flush.
  await object.expect('write 0', 'read 2048', 'discard 4096', 'write 8192');
  object.let('write 0');
  await object.expect('read 2048', 'discard 4096', 'write 8192');
  object.let('discard 4096');
  await object.expect('read 2048', 'write 8192', 'flush 0');
  ends.push(session.run(FLUSH_ALL), session.run(write(0)));
  await object.expect('read 2048', 'write 8192', 'flush 0', 'write 0');
  object.let('write 8192');
  // The second flush began after the second write to the same place had come.
  await object.expect('read 2048', 'flush 0', 'write 0', 'flush 0');
  while (object.calls.length > 0) object.let();
  assert.deepEqual(await Promise.all(ends), new Array(7).fill(0));
});

test('so many requests come at once as the object takes', async () => {
  const object = Object.assign(new HeldObject(), { maxConcurrency: 2 });
  using session = new ChannelSession(new ObjectDisk(object));
  const ends = [0, 1, 2, 3, 4].map((index) => session.run(write(index * 1024)));
  await object.expect('write 0', 'write 1024');
  object.let('write 1024');
  await object.expect('write 0', 'write 2048');
  object.let('write 0');
  object.let('write 2048');
  await object.expect('write 3072', 'write 4096');
  object.let();
  object.let();
  assert.deepEqual(await Promise.all(ends), [0, 0, 0, 0, 0]);
});

test('a request that takes too long fails, is told so, and keeps its range', async () => {
  // Long enough for what comes after it, on a busy machine, too.
  const object = Object.assign(new HeldObject(), { timeoutMs: 2000 });
  const disk = new ObjectDisk(object);
  const logger = new RecordingLogger();
  disk.useLogger(logger);
  using session = new ChannelSession(disk);
  session.memory.fill(7, 0, 1024);
  const end = session.run(write(0));
  await object.expect('write 0');
  const [call] = object.calls;
  assert.equal(call.request.signal.aborted, false);
  assert.equal(await end, -Errno.ETIMEDOUT);
  assert.equal(call.request.signal.aborted, true);
  assert.equal((call.request.signal.reason as { code: string }).code, 'ETIMEDOUT');
  assert.equal(logger.errors.length, 1);
  assert.match(
    logger.errors[0],
    /write of 1024 bytes at offset 0 failed: .*within timeoutMs \(2000 ms\)/,
  );

  // The buffer is the method's own: the guest's memory may be something else by now.
  session.memory.fill(9, 0, 1024);
  assert.ok(call.buffers[0].every((byte) => byte === 7));
  call.buffers[0].fill(3);
  assert.equal(session.memory[0], 9);

  // The range is still taken, the rest of the disk is not.
  const later = session.run(read(512));
  const elsewhere = session.run(read(4096));
  await object.expect('write 0', 'read 4096');
  object.let('read 4096');
  assert.equal(await elsewhere, 0);
  const results = session.results.length;
  object.let('write 0');
  await object.expect('read 512');
  assert.equal(session.results.length, results, 'a late end is nobody’s');
  object.calls[0].buffers[0].fill(5);
  object.let();
  assert.equal(await later, 0);
  assert.equal(session.memory[512], 5);
});

test('what a read gives after its time is nobody’s', async () => {
  const object = Object.assign(new HeldObject(), { timeoutMs: 2000 });
  using session = new ChannelSession(new ObjectDisk(object));
  assert.equal(await session.run(read(0)), -Errno.ETIMEDOUT);
  session.memory.fill(1, 0, 1024);
  // Another request has the slot by now.
  const other = session.run(read(8192));
  await object.expect('read 0', 'read 8192');
  object.calls[0].buffers[0].fill(0xaa);
  object.let('read 0');
  await sleep(5);
  assert.equal(session.pending, 1);
  assert.ok(session.memory.subarray(0, 1024).every((byte) => byte === 1));
  assert.ok(session.memory.subarray(8192, 9216).every((byte) => byte === 0));
  object.let();
  assert.equal(await other, 0);
});

test('time is counted from the arrival: also of requests that wait for others', async () => {
  const object = Object.assign(new HeldObject(), { timeoutMs: 2000, maxConcurrency: 1 });
  using session = new ChannelSession(new ObjectDisk(object));
  const ends = [write(0), write(0), write(8192), FLUSH_ALL].map((request) => session.run(request));
  await object.expect('write 0');
  assert.deepEqual(await Promise.all(ends), new Array(4).fill(-Errno.ETIMEDOUT));
  object.let();
  // Those that waited never come.
  await object.expect();
  const last = session.run(write(0));
  await object.expect('write 0');
  object.let();
  assert.equal(await last, 0);
});

test('requests that are abandoned end when their method does, or were not begun', async () => {
  const object = Object.assign(new HeldObject(), { maxConcurrency: 3 });
  const disk = new ObjectDisk(object);
  using session = new ChannelSession(disk);
  using other = new ChannelSession(disk);
  const theirs = other.run(write(65536));
  const ends = [write(0), write(8192), write(0), write(16384)].map((each) => session.run(each));
  await object.expect('write 65536', 'write 0', 'write 8192');
  const [their, first, second] = object.calls;
  for (const { request } of object.calls) assert.equal(request.signal.aborted, false);
  session.channel.abandon?.();
  assert.deepEqual(await Promise.all(ends.slice(2)), [-Errno.ECANCELED, -Errno.ECANCELED]);
  assert.deepEqual(
    [their, first, second].map(({ request }) => request.signal.aborted),
    [false, true, true],
  );
  // One that is done all the same is done; one that gives up has not been.
  object.let('write 0');
  object.fail(second.request.signal.reason, 'write 8192');
  assert.deepEqual(await Promise.all(ends.slice(0, 2)), [0, -Errno.ECANCELED]);
  object.let();
  assert.equal(await theirs, 0);
});

test('a slow method holds up neither other queues nor other disks', async () => {
  const object = new HeldObject();
  const disk = new ObjectDisk(object);
  using one = new ChannelSession(disk);
  using other = new ChannelSession(disk);
  using another = new ChannelSession(new ObjectDisk({ sizeBytes: 65536, read() {} }));
  const slow = one.run(read(65536));
  for (let round = 0; round < 10; round++) {
    const quick = other.run(read(4096 * round));
    object.let(`read ${4096 * round}`);
    assert.equal(await quick, 0);
    assert.equal(await another.run(read(0)), 0);
  }
  assert.equal(one.pending, 1);
  object.let();
  assert.equal(await slow, 0);
});

test('a method may use another disk, and the same one', async () => {
  const lower = new ObjectDisk({ sizeBytes: 65536, read: (buffer) => void buffer.fill(4) });
  const below = lower.openAccess();
  const disk = new ObjectDisk({
    sizeBytes: 65536,
    async read(buffer, offset) {
      // The second half is what is in the first.
      if (offset >= 32768) await own.read(buffer, offset - 32768);
      else await below.read(buffer, offset);
    },
  });
  const own = disk.openAccess();
  using session = new ChannelSession(disk);
  assert.equal(await session.run(read(32768)), 0);
  assert.equal(session.memory[32768], 4);
  const buffer = new Uint8Array(512);
  await own.read(buffer, 32768);
  assert.equal(buffer[0], 4);
});

test('of data, methods have only so much at once', async () => {
  const object = new HeldObject();
  // Without copies: what they would take is not to be taken here.
  const readv = (_: readonly Uint8Array[], offset: number, request: ObjectRequest) =>
    object.read(new Uint8Array(0), offset, request);
  using session = new ChannelSession(new ObjectDisk(Object.assign(object, { readv })));
  const large = (mib: number, offset: number): Request => ({
    operation: READ,
    offset,
    // Few: a list has an end.
    pieces: Array.from({ length: Math.ceil(mib / 4) }, () => ({
      at: 0,
      bytes: Math.min(mib, 4) * 2 ** 20,
    })),
  });
  const ends = [large(200, 0), large(56, 512), large(1, 1024), large(300, 1536)].map((request) =>
    session.run(request),
  );
  await object.expect('read 0', 'read 512');
  object.let('read 512');
  await object.expect('read 0', 'read 1024');
  object.let('read 0');
  await object.expect('read 1024');
  object.let();
  await object.expect('read 1536');
  object.let();
  assert.deepEqual(await Promise.all(ends), [0, 0, 0, 0]);
});
