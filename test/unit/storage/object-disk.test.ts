/** A disk object from its opening to its end: sizes that change, what it is made of, closing. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { Blkio } from '../../../src/blkio/index.ts';
import { serve } from '../../../src/exports/index.ts';
import {
  cache,
  concat,
  type Disk,
  type DiskAccess,
  type DiskObject,
  DiskOperation,
  log,
  openAccess,
  openDisk,
  ReadonlyDisk,
  readonly,
  stats,
} from '../../../src/storage/index.ts';
import { ObjectDisk } from '../../../src/storage/object/object-disk.ts';
import { openObjectOver } from '../../../src/storage/object/object-over.ts';
import { Errno } from '../../../src/sys/index.ts';
import { ChannelSession } from '../../support/channel-session.ts';
import { HeldObject } from '../../support/held-object.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { LabDisk } from '../../support/lab-disk.ts';
import { RecordingLogger } from '../../support/recording-logger.ts';
import { until, within } from '../../support/within.ts';

/** A disk of a size that changes. */
class GrowingDisk extends EventEmitter implements DiskObject {
  sizeBytes = 65536;
  readonly logicalBlockBytes = 4096;
  read(): void {}

  resize(bytes: unknown): void {
    this.sizeBytes = bytes as number;
    this.emit('resize');
  }
}

test('a guest is told of another size, whenever it changes', async (t) => {
  const object = new GrowingDisk();
  const socketPath = join(imageFolder(t), 'socket');
  const logger = new RecordingLogger();
  await using served = await serve({ socketPath, disk: object, logger });
  using device = new Blkio('virtio-blk-vhost-user');
  device.set('path', socketPath);
  device.set('read-only', true);
  await device.connect();
  await device.start();
  for (const bytes of [2 ** 20, 8192, 2 ** 33]) {
    const told = once(device, 'config-change');
    object.resize(bytes);
    await within(told, `the guest is told of ${bytes} bytes`);
    assert.equal(device.capacityBytes, bytes);
    assert.equal(await served.updateCapacity(), bytes);
  }
  const queue = device.asyncQueue(0);
  await queue.read(2 ** 33 - 4096, new Uint8Array(4096));
  assert.deepEqual(logger.errors, []);
});

test('a size that makes no sense is logged, and changes nothing', async () => {
  const object = new GrowingDisk();
  const disk = new ObjectDisk(object);
  const logger = new RecordingLogger();
  disk.useLogger(logger);
  const sizes: number[] = [];
  disk.onResize(() => sizes.push(disk.currentSizeBytes()));
  const wrong = [0, -4096, 1.5, 4096 + 512, Number.NaN, '8192', undefined];
  for (const bytes of wrong) object.resize(bytes);
  assert.deepEqual(
    sizes,
    wrong.map(() => 65536),
  );
  assert.equal(logger.errors.length, wrong.length);
  for (const text of logger.errors) assert.match(text, /sizeBytes is .*: expected a .*multiple of/);
  Object.defineProperty(object, 'sizeBytes', {
    get() {
      throw new Error('no size');
    },
  });
  object.emit('resize');
  assert.equal(sizes.at(-1), 65536);
  assert.match(logger.errors.at(-1) ?? '', /no size/);
});

test('disks over one that changes its size hear of it', async (t) => {
  const object = new GrowingDisk();
  const trace = join(imageFolder(t), 'trace');
  const logged = await openDisk(log(readonly(stats(object)), { file: trace }));
  /** As a module makes one. */
  const make = ([below]: readonly DiskAccess[]): DiskObject => {
    const over = Object.assign(new EventEmitter(), {
      sizeBytes: below.currentSizeBytes(),
      read: (buffer: Uint8Array, offset: number) => below.read(buffer, offset),
    });
    below.onResize(() => {
      over.sizeBytes = below.currentSizeBytes();
      over.emit('resize');
    });
    return over;
  };
  const disk = await openObjectOver([logged], make, { kind: 'over' });
  const sizes: number[] = [];
  disk.onResize?.(() => sizes.push(disk.currentSizeBytes()));
  for (const bytes of [2 ** 20, 8192]) object.resize(bytes);
  assert.deepEqual(sizes, [2 ** 20, 8192]);
  await disk.close();
});

test('however often a disk is served, it listens to its object once', () => {
  const object = new GrowingDisk();
  const disk = new ObjectDisk(object);
  let count = 0;
  for (let round = 0; round < 20; round++) {
    disk.onResize(() => {
      count += 1;
    });
  }
  assert.equal(object.listenerCount('resize'), 1);
  object.emit('resize');
  assert.equal(count, 20);
});

test('a closed server does not listen to its disk any more', async (t) => {
  const object = new GrowingDisk();
  const disk = new ObjectDisk(object);
  const socketPath = join(imageFolder(t), 'socket');
  for (const served of [disk, new ReadonlyDisk(disk)]) {
    for (let round = 0; round < 12; round++) {
      const server = await serve({ socketPath, disk: served });
      assert.equal(object.listenerCount('resize'), 1);
      object.resize(8192 * (round + 1));
      await server.close();
      assert.equal(object.listenerCount('resize'), 0);
    }
  }
  // Another one that serves it goes on.
  const [one, other] = await Promise.all(
    ['one', 'other'].map((name) => serve({ socketPath: `${socketPath}-${name}`, disk })),
  );
  await one.close();
  assert.equal(object.listenerCount('resize'), 1);
  await other.close();
  assert.equal(object.listenerCount('resize'), 0);
});

test('a server that is closed does not look at sizes any more', async (t) => {
  const object = new GrowingDisk();
  const told: (() => void)[] = [];
  let looks = 0;
  // It cannot forget whom it tells.
  const disk = new ObjectDisk({
    logicalBlockBytes: 4096,
    get sizeBytes() {
      looks += 1;
      return object.sizeBytes;
    },
    read() {},
    on: (_event, listener) => told.push(listener),
  });
  const socketPath = join(imageFolder(t), 'socket');
  for (let round = 0; round < 3; round++) {
    const server = await serve({ socketPath, disk });
    assert.equal(told.length, 1);
    const before = looks;
    told[0]();
    assert.ok(looks > before);
    await server.close();
  }
  const before = looks;
  told[0]();
  assert.equal(looks, before);
});

for (const [name, close] of [
  [
    'throws',
    () => {
      throw new Error('cannot close');
    },
  ],
  ['rejects', async () => Promise.reject(new Error('cannot close'))],
  ['throws nothing of sense', () => Promise.reject(Object.create(null))],
] as const) {
  test(`a close that ${name} fails the disk's, and the disks below are closed`, async () => {
    const lower = new LabDisk({ content: Buffer.alloc(65536) });
    const disk = await openObjectOver([lower], () => ({ sizeBytes: 512, read() {}, close }), {
      kind: 'closing',
    });
    // What a disk above it says is what it has said.
    const above = await openObjectOver([disk], () => ({ sizeBytes: 512, read() {} }), {
      kind: 'above',
    });
    await assert.rejects(async () => above.close(), {
      code: 'DISK_CLOSE_FAILED',
      message: /^a disk object: close failed: (cannot close|with something that .*)$/,
    });
    assert.ok(lower.isClosed);
  });
}

test('all disks below are closed, and the first that fails is told', async () => {
  const closed: string[] = [];
  const failing = (name: string): DiskObject => ({
    sizeBytes: 512,
    description: name,
    read() {},
    close() {
      closed.push(name);
      throw new Error(`no ${name}`);
    },
  });
  const open = async (name: string): Promise<Disk> => openDisk(failing(name));
  for (const join of [
    // Open ones would stay open.
    async () => openDisk(concat(failing('one'), failing('two'))),
    async () => {
      const disks = [await open('one'), await open('two')];
      return openObjectOver(disks, () => ({ sizeBytes: 512, read() {} }), { kind: 'over' });
    },
  ]) {
    closed.length = 0;
    const disk = await join();
    await assert.rejects(async () => disk.close(), { message: 'one: close failed: no one' });
    assert.deepEqual(closed, ['one', 'two']);
  }
});

test('a disk that cannot be opened says why, whatever closing those below says', async () => {
  const below: DiskObject = {
    sizeBytes: 512,
    read() {},
    close() {
      throw new Error('no end');
    },
  };
  await assert.rejects(openDisk(cache(below, { size: 4096, block: 8192 })), {
    code: 'DISK_OPTION',
  });
});

test('an object that cannot be made leaves the disks below to the caller, unused', async () => {
  for (const make of [() => ({}) as DiskObject, () => Promise.reject(new Error('no'))]) {
    const lower = new LabDisk({ content: Buffer.alloc(65536) });
    await assert.rejects(openObjectOver([lower], make, { kind: 'none' }));
    assert.equal(lower.isClosed, false);
  }
});

/** A disk over one whose reads are held. */
async function overHeld(timeoutMs: number): Promise<[Disk, HeldObject]> {
  const held = new HeldObject();
  const below = await openDisk(held);
  const make = ([access]: readonly DiskAccess[]): DiskObject => ({
    sizeBytes: 65536,
    timeoutMs,
    read: (buffer, offset) => access.read(buffer, offset),
  });
  return [await openObjectOver([below], make, { kind: 'over' }), held];
}

test('closing waits for methods whose time was over', async () => {
  const [disk, held] = await overHeld(3000);
  let isClosed = false;
  {
    using session = new ChannelSession(disk);
    const pieces = [{ at: 0, bytes: 512 }];
    const read = session.run({ operation: DiskOperation.READ, pieces });
    await held.expect('read 0');
    assert.equal(await read, -Errno.ETIMEDOUT);
  }
  const closed = Promise.resolve(disk.close()).then(() => {
    isClosed = true;
  });
  await held.expect('read 0');
  assert.equal(isClosed, false);
  held.let();
  await closed;
});

test('closing does not wait for ever for a method that never ends', async () => {
  const [disk] = await overHeld(50);
  {
    using session = new ChannelSession(disk);
    const pieces = [{ at: 0, bytes: 512 }];
    const result = await session.run({ operation: DiskOperation.READ, pieces });
    assert.equal(result, -Errno.ETIMEDOUT);
  }
  await within(Promise.resolve(disk.close()), 'close');
});

test('disks below that are still in use when it is closed stay open, and it is said', async () => {
  const lower = new LabDisk({ content: Buffer.alloc(65536) });
  let access: DiskAccess | undefined;
  const make = ([below]: readonly DiskAccess[]): DiskObject => {
    access = below;
    return { sizeBytes: 65536, read() {} };
  };
  const disk = await openObjectOver([lower], make, { kind: 'over' });
  // Work of its own that nobody has asked for.
  const ends = Array.from({ length: 20 }, async () => access?.read(new Uint8Array(512), 0));
  await assert.rejects(async () => disk.close(), /close failed: .*EBUSY/);
  assert.equal(lower.isClosed, false);
  await Promise.all(ends);
});

test('a signal of who asks is the method’s, and what comes of it is no news', async () => {
  const object = new HeldObject();
  const disk = new ObjectDisk(object);
  const logger = new RecordingLogger();
  disk.useLogger(logger);
  const access = openAccess(disk);
  const controller = new AbortController();
  const read = access.read(new Uint8Array(512), 0, { signal: controller.signal });
  await object.expect('read 0');
  const { signal } = object.calls[0].request;
  assert.equal(object.calls[0].request.signal, signal, 'it is one signal');
  assert.equal(signal.aborted, false);
  controller.abort();
  assert.equal(signal.aborted, true);
  object.fail(signal.reason);
  await assert.rejects(Promise.resolve(read), { code: 'ECANCELED' });
  assert.deepEqual(logger.errors, []);
  await until(
    () => object.calls.length === 0,
    () => 'it has ended',
  );
});
