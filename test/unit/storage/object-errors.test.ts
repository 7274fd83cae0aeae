/** What the methods of a disk object throw: what the guest sees of it, and what its author. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DiskObject, DiskOperation } from '../../../src/storage/index.ts';
import { ObjectDisk } from '../../../src/storage/object/object-disk.ts';
import { Errno } from '../../../src/sys/index.ts';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { ChannelSession } from '../../support/channel-session.ts';
import type { Request } from '../../support/disk-session.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';
import { ServedQueue } from '../../support/served-queue.ts';

const { READ, WRITE, FLUSH } = DiskOperation;
const READ_ONE: Request = { operation: READ, offset: 512, pieces: [{ at: 0, bytes: 512 }] };

/** An object whose reads end in some way, at once. */
function readingBy(read: () => unknown): { disk: ObjectDisk; logger: RecordingLogger } {
  const object = { sizeBytes: 65536, read } as unknown as DiskObject;
  const disk = new ObjectDisk(object);
  const logger = new RecordingLogger();
  disk.useLogger(logger);
  return { disk, logger };
}

function withCode(code: unknown): Error {
  return Object.assign(new Error(`with ${String(code)}`), { code });
}

const RESULTS: readonly (readonly [string, unknown, number])[] = [
  ['ENOSPC', withCode('ENOSPC'), Errno.ENOSPC],
  ['EROFS', withCode('EROFS'), Errno.EROFS],
  ['ENOTSUP', withCode('ENOTSUP'), Errno.EOPNOTSUPP],
  ['EOPNOTSUPP', withCode('EOPNOTSUPP'), Errno.EOPNOTSUPP],
  ['no code', new Error('no'), Errno.EIO],
  ['a code that is unknown', withCode('EWHATEVER'), Errno.EIO],
  ['a code of every object', withCode('constructor'), Errno.EIO],
  ['a code that is no text', withCode(28), Errno.EIO],
  ['a string', 'no', Errno.EIO],
  ['nothing', undefined, Errno.EIO],
  ['null', null, Errno.EIO],
  ['a symbol', Symbol('no'), Errno.EIO],
  ['an object without prototype', Object.create(null), Errno.EIO],
  [
    'an error whose properties throw',
    Object.create(Error.prototype, {
      code: { get: () => assert.fail('code') },
      message: { get: () => assert.fail('message') },
      stack: { get: () => assert.fail('stack') },
    }),
    Errno.EIO,
  ],
  [
    'an object that cannot be shown',
    {
      toString() {
        throw new Error('toString');
      },
    },
    Errno.EIO,
  ],
];

for (const [name, thrown, errno] of RESULTS) {
  test(`thrown, or rejected with: ${name}`, async () => {
    const ways = [
      () => {
        throw thrown;
      },
      async () => {
        await Promise.resolve();
        throw thrown;
      },
    ];
    for (const read of ways) {
      const { disk, logger } = readingBy(read);
      using session = new ChannelSession(disk);
      assert.equal(await session.run(READ_ONE), -errno);
      assert.equal(logger.errors.length, 1);
      assert.match(logger.errors[0], /^a disk object: read of 512 bytes at offset 512 failed: /);
      await assert.rejects(async () => disk.openAccess().read(new Uint8Array(512), 0), {
        name: 'SystemError',
        errno,
      });
    }
  });
}

test('each error is logged once, with the place it comes from', async () => {
  let count = 0;
  const { disk, logger } = readingBy(function failingRead() {
    count += 1;
    throw new Error(count % 2 === 0 ? 'even' : 'odd');
  });
  using session = new ChannelSession(disk);
  for (let round = 0; round < 6; round++) assert.equal(await session.run(READ_ONE), -Errno.EIO);
  assert.equal(logger.errors.length, 2);
  assert.match(logger.errors[0], /Error: odd\n +at .*failingRead .*object-errors\.test\.js/s);
});

test('the log has an end, however many different errors there are', async () => {
  let count = 0;
  const { disk, logger } = readingBy(() => {
    count += 1;
    throw new Error(`error ${count}`);
  });
  using session = new ChannelSession(disk);
  for (let round = 0; round < 300; round++) await session.run(READ_ONE);
  assert.ok(logger.errors.length <= 100, String(logger.errors.length));
});

test('the guest sees UNSUPP for ENOTSUP and IOERR for the rest, and they are counted', () => {
  let code = 'ENOTSUP';
  const { disk } = readingBy(() => {
    throw withCode(code);
  });
  using served = new ServedQueue({ disk });
  assert.equal(served.ask({ type: RequestType.IN, room: 512 }).status, Status.UNSUPP);
  for (code of ['ENOSPC', 'EROFS', 'EIO', 'EWHATEVER']) {
    assert.equal(served.ask({ type: RequestType.IN, room: 512 }).status, Status.IOERR);
  }
  assert.equal(served.counted().diskErrors, 4);
  assert.equal(served.counted().unsupportedRequests, 1);
});

type Then = (done: () => void, fail: (reason: unknown) => void) => void;

function thenable(descriptor: PropertyDescriptor): unknown {
  return Object.defineProperty({}, 'then', descriptor);
}

/** What looks like a promise and is none; its `then` is made of what settles the request. */
const THENABLES: readonly (readonly [string, (settle: () => void) => unknown, number])[] = [
  [
    'is done at once',
    (settle) => {
      const value: Then = (done) => {
        settle();
        done();
      };
      return thenable({ value });
    },
    0,
  ],
  [
    'is done later',
    (settle) => {
      const value: Then = (done) => {
        setImmediate(() => {
          settle();
          done();
        });
      };
      return thenable({ value });
    },
    0,
  ],
  [
    'is done several times',
    (settle) => {
      const value: Then = (done, fail) => {
        settle();
        done();
        done();
        fail(new Error('late'));
        throw new Error('later');
      };
      return thenable({ value });
    },
    0,
  ],
  [
    'fails',
    () => {
      const value: Then = (_done, fail) => fail(withCode('ENOSPC'));
      return thenable({ value });
    },
    Errno.ENOSPC,
  ],
  ['throws', () => thenable({ value: throwNoSpace }), Errno.ENOSPC],
  ['throws when it is looked at', () => thenable({ get: throwNoSpace }), Errno.ENOSPC],
];

function throwNoSpace(): never {
  throw withCode('ENOSPC');
}

for (const [name, make, errno] of THENABLES) {
  test(`something like a promise that ${name}`, async () => {
    let isSettled = false;
    const method = (): unknown =>
      make(() => {
        isSettled = true;
      });
    let flushed: boolean | undefined;
    const object = {
      sizeBytes: 65536,
      read: method,
      write: method,
      flush() {
        flushed = isSettled;
      },
    } as unknown as DiskObject;
    using session = new ChannelSession(new ObjectDisk(object));
    for (let round = 0; round < 3; round++) {
      assert.equal((await session.run(READ_ONE)) || 0, -errno || 0);
    }
    isSettled = false;
    // A stable write is flushed after it.
    const stable: Request = { ...READ_ONE, operation: WRITE, flags: 1 };
    assert.equal((await session.run(stable)) || 0, -errno || 0);
    assert.equal(flushed, errno === 0 ? true : undefined);
    assert.equal(await session.run({ operation: FLUSH }), 0);
    assert.equal(session.pending, 0);
  });
}
