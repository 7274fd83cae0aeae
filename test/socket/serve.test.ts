/** `serve`: from a disk to a virtual machine's disk in one call, and back. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import {
  type DiskLike,
  type DiskObject,
  ExportError,
  file,
  nullDisk,
  openDisk,
  readonly,
  StorageError,
  serve,
  stats,
} from '../../src/index.ts';
import { silentLogger } from '../../src/sys/index.ts';
import { nextEvent, startedDevice } from '../support/client-device.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import { HeldObject } from '../support/held-object.ts';
import { imageFolder } from '../support/image-folder.ts';
import { allMethods, memoryObject } from '../support/memory-object.ts';
import { openDescriptors } from '../support/open-descriptors.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { until, within } from '../support/within.ts';

const BYTES = 65536;

/** An object that notes that it is closed. */
function closable(): { object: DiskObject; closed: number } {
  const memory = new Uint8Array(BYTES);
  const state = { closed: 0, object: memoryObject(memory, allMethods(memory)) };
  const close = (): void => {
    state.closed += 1;
  };
  Object.assign(state.object, { close });
  return state;
}

function place(t: TestContext): { folder: string; socketPath: string; image: string } {
  const folder = imageFolder(t);
  const image = join(folder, 'disk.img');
  writeFileSync(image, patternBytes(BYTES));
  return { folder, socketPath: join(folder, 'disk.sock'), image };
}

suite('served', () => {
  test('an object, until it is closed; then nothing is left', async (t) => {
    const { socketPath } = place(t);
    const state = closable();
    const before = await steadyDescriptors();
    {
      await using served = await serve({ socketPath, disk: state.object, logger: silentLogger });
      assert.equal(served.socketPath, socketPath);
      assert.equal(served.disk.info.sizeBytes, BYTES);
      assert.equal(statSync(socketPath).mode & 0o777, 0o600);
      const data = patternBytes(8192, 3);
      for (let client = 0; client < 2; client++) {
        const { device, queue } = await startedDevice(socketPath);
        await queue.write(4096, data, { fua: true });
        const read = new Uint8Array(8192);
        await queue.read(4096, read);
        assert.deepEqual(read, data);
        device[Symbol.dispose]();
      }
      assert.equal(served.counters.writes, 2);
      assert.equal(served.counters.reads, 2);
      assert.equal(state.closed, 0);
      await served.close();
      await served.ended;
      // Once more changes nothing.
      await served.close();
    }
    assert.equal(state.closed, 1);
    assert.equal(existsSync(socketPath), false);
    await untilDescriptors(before);
  });

  test('a plan, by queue threads', async (t) => {
    const { socketPath, image } = place(t);
    await using served = await serve({ socketPath, disk: file(image), numQueues: 2, threads: 2 });
    assert.equal(served.disk.needsEventLoop, undefined);
    const { device, queue } = await startedDevice(socketPath);
    await queue.write(0, new Uint8Array(512).fill(5));
    device[Symbol.dispose]();
    assert.equal(readFileSync(image)[511], 5);
  });

  test('one that is open, and stays so', async (t) => {
    const { socketPath } = place(t);
    const state = closable();
    const disk = await openDisk(state.object);
    for (let round = 0; round < 2; round++) {
      const served = await serve({ socketPath, disk, logger: silentLogger });
      assert.equal(served.disk, disk);
      await served.close();
    }
    assert.equal(state.closed, 0);
    await disk.close();
    assert.equal(state.closed, 1);
  });

  test('a file that is open, again and again, leaving nothing of each time', async (t) => {
    const { socketPath, image } = place(t);
    const disk = await openDisk(file(image));
    t.after(() => disk.close());
    const uses = (): number => openDescriptors().filter((line) => line.endsWith(image)).length;
    const before = uses();
    for (let round = 0; round < 4; round++) {
      await using served = await serve({ socketPath, disk, threads: 2, logger: silentLogger });
      assert.ok(uses() > before, 'threads flush by descriptions of their own');
      await served.close();
      assert.equal(uses(), before, `round ${round}`);
    }
  });

  test('methods are told that it ends; what they give up is for the next server', async (t) => {
    const { socketPath } = place(t);
    let asked = 0;
    const waiting: DiskObject = {
      ...memoryObject(new Uint8Array(BYTES), allMethods(new Uint8Array(BYTES))),
      read: (_buffer, _offset, { signal }) => {
        asked += 1;
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      },
    };
    const first = await serve({ socketPath, disk: waiting, logger: silentLogger });
    const { device, queue } = await startedDevice(socketPath, { 'reconnect-ms': 5 });
    const read = new Uint8Array(4096);
    const reading = queue.read(0, read);
    await until(
      () => asked === 1,
      () => 'the read',
    );
    await within(first.close(), 'the end of the first server');
    const memory = patternBytes(BYTES, 9);
    const next = memoryObject(memory, allMethods(memory));
    await using _second = await serve({ socketPath, disk: next, logger: silentLogger });
    await within(reading, 'the read');
    assert.deepEqual(read, memory.subarray(0, 4096));
    device[Symbol.dispose]();
  });

  test('one that is open, below a plan, and stays so', async (t) => {
    const { socketPath } = place(t);
    const state = closable();
    const disk = await openDisk(state.object);
    const plan = stats(readonly(disk));
    await assert.rejects(serve({ socketPath: `/tmp/${'x'.repeat(120)}`, disk: plan }), ExportError);
    const served = await serve({ socketPath, disk: plan, logger: silentLogger });
    const { device, queue } = await startedDevice(socketPath, { 'read-only': true });
    await queue.read(0, new Uint8Array(512));
    device[Symbol.dispose]();
    await served.close();
    assert.equal(state.closed, 0);
    await disk.close();
    assert.equal(state.closed, 1);
  });

  test('to be closed only when requests under way have been done', async (t) => {
    const { socketPath } = place(t);
    const object = new HeldObject();
    const served = await serve({ socketPath, disk: object, logger: silentLogger });
    const { device, queue } = await startedDevice(socketPath);
    const write = queue.write(0, new Uint8Array(512));
    await object.expect('write 0');
    let isClosed = false;
    const closing = served.close().then(() => {
      isClosed = true;
    });
    await object.expect('write 0');
    assert.equal(isClosed, false);
    object.let();
    await within(Promise.all([write, closing]), 'the write and the end');
    device[Symbol.dispose]();
  });
});

suite('another size', () => {
  const ways: readonly (readonly [string, (image: string) => object])[] = [
    ['a file', (image) => ({ disk: file(image) })],
    ['a file in a worker', (image) => ({ worker: `file(${image})` })],
  ];
  for (const [name, way] of ways) {
    test(`of ${name} is found when it is looked for`, async (t) => {
      const { socketPath, image } = place(t);
      await using served = await serve({ socketPath, logger: silentLogger, ...way(image) });
      assert.equal(await served.updateCapacity(), BYTES);
      const { device } = await startedDevice(socketPath);
      const told = nextEvent(device, 'config-change');
      truncateSync(image, 2 * BYTES);
      assert.equal(await served.updateCapacity(), 2 * BYTES);
      await within(told, 'the news');
      assert.equal(device.capacityBytes, 2 * BYTES);
      device[Symbol.dispose]();
    });
  }

  test('of a disk that was open is what its first client finds', async (t) => {
    const { socketPath, image } = place(t);
    const disk = await openDisk(file(image));
    truncateSync(image, 3 * BYTES);
    const served = await serve({ socketPath, disk, logger: silentLogger });
    const { device, queue } = await startedDevice(socketPath);
    assert.equal(device.capacityBytes, 3 * BYTES);
    await queue.read(3 * BYTES - 512, new Uint8Array(512));
    device[Symbol.dispose]();
    await served.close();
    await disk.close();
  });
});

suite('read only is served', () => {
  const memory = new Uint8Array(BYTES);
  const disks: readonly (readonly [string, (image: string) => DiskLike | Promise<DiskLike>])[] = [
    ['an object', () => memoryObject(memory, allMethods(memory))],
    ['a file', (image) => file(image)],
    ['a null disk', () => nullDisk(BYTES)],
    ['an open object', () => openDisk(memoryObject(memory, allMethods(memory)))],
    ['an open file', (image) => openDisk(file(image))],
    ['a filter over an open file', async (image) => readonly(await openDisk(file(image)))],
  ];
  for (const [name, make] of disks) {
    test(name, async (t) => {
      const { socketPath, image } = place(t);
      const disk = await make(image);
      const served = await serve({ socketPath, disk, readOnly: true, logger: silentLogger });
      const { info } = served.disk;
      assert.deepEqual([info.readOnly, info.canDiscard, info.canWriteZeroes], [true, false, false]);
      const { device, queue } = await startedDevice(socketPath, { 'read-only': true });
      assert.equal(device.get('read-only'), true);
      await queue.read(0, new Uint8Array(512));
      await assert.rejects(queue.write(0, new Uint8Array(512)));
      device[Symbol.dispose]();
      await served.close();
      assert.deepEqual(new Uint8Array(readFileSync(image)), patternBytes(BYTES));
      if (!('openChannel' in disk)) return;
      // It was open before, and is still: as it was.
      assert.equal(disk.info.readOnly, false);
      const again = await serve({ socketPath, disk, logger: silentLogger });
      const second = await startedDevice(socketPath);
      await second.queue.write(0, patternBytes(512));
      second.device[Symbol.dispose]();
      await again.close();
      await disk.close();
    });
  }
});

suite('refused, with nothing left behind', () => {
  const wrong: readonly (readonly [string, object, new (...args: never[]) => Error, RegExp])[] = [
    ['no disk', { disk: undefined }, StorageError, /give either disk or worker/],
    ['null', { disk: null }, StorageError, /it is null/],
    ['an object that is none', { disk: {} }, StorageError, /read is undefined/],
    ['a missing file', { disk: file('/missing.img') }, StorageError, /missing\.img/],
    ['a long path', { socketPath: `/tmp/${'x'.repeat(120)}` }, ExportError, /107/],
    ['a missing folder', { socketPath: '/missing/disk.sock' }, ExportError, /missing/],
  ];
  for (const [name, changes, kind, message] of wrong) {
    test(name, async (t) => {
      const { folder, socketPath } = place(t);
      const state = closable();
      const before = await steadyDescriptors();
      const options = { socketPath, disk: state.object, logger: silentLogger, ...changes };
      await assert.rejects(serve(options as never), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.match((error as Error).message, message);
        return true;
      });
      assert.deepEqual(readdirSync(folder), ['disk.img']);
      if (!('disk' in changes)) assert.equal(state.closed, 1);
      await untilDescriptors(before);
    });
  }

  test('a path where something else is', async (t) => {
    const { folder, socketPath } = place(t);
    mkdirSync(socketPath);
    const state = closable();
    await assert.rejects(serve({ socketPath, disk: state.object }), { code: 'SOCKET_IN_USE' });
    assert.equal(state.closed, 1);
    assert.deepEqual(readdirSync(folder).sort(), ['disk.img', 'disk.sock']);
  });

  test('a path where another serves, who goes on', async (t) => {
    const { socketPath } = place(t);
    await using first = await serve({ socketPath, disk: nullDisk(BYTES), logger: silentLogger });
    await assert.rejects(serve({ socketPath, disk: nullDisk(BYTES) }), { code: 'SOCKET_IN_USE' });
    const { device, queue } = await startedDevice(socketPath);
    await queue.read(0, new Uint8Array(512));
    device[Symbol.dispose]();
    assert.equal(first.counters.reads, 1);
  });

  test('settings that make no sense: a disk that was open stays so', async (t) => {
    const { folder, socketPath } = place(t);
    const state = closable();
    const disk = await openDisk(state.object);
    const before = await steadyDescriptors();
    const wrong = [
      { engine: 'kqueue' },
      ...[0, -1, 1.5, 257, '2', Number.NaN].map((numQueues) => ({ numQueues })),
      ...[0, 1000, 65536].map((queueSize) => ({ queueSize })),
      ...[-1, 1.5].map((threads) => ({ threads })),
      ...['x'.repeat(21), 'é'.repeat(11), 5].map((serial) => ({ serial })),
    ];
    for (const settings of wrong) {
      const options = { socketPath, disk, logger: silentLogger, ...settings };
      await assert.rejects(
        serve(options as never),
        { code: 'EXPORT_OPTION', name: 'ExportError' },
        JSON.stringify(settings),
      );
    }
    assert.equal(state.closed, 0);
    assert.deepEqual(readdirSync(folder), ['disk.img']);
    await untilDescriptors(before);
    await disk.close();
  });
});

test('settings that are given as nothing are not given', async (t) => {
  const { socketPath } = place(t);
  const nothing = {
    numQueues: undefined,
    threads: undefined,
    serial: undefined,
    engine: undefined,
  };
  const options = { socketPath, disk: nullDisk(BYTES), logger: silentLogger, ...nothing };
  const served = await serve(options as never);
  const { device, queue } = await startedDevice(socketPath);
  await queue.read(0, new Uint8Array(512));
  device[Symbol.dispose]();
  await served.close();
});

test('without a logger, warnings and errors are on standard error, and nothing else', (t) => {
  const { socketPath } = place(t);
  const index = new URL('../../src/index.js', import.meta.url).href;
  const client = new URL('../support/client-device.js', import.meta.url).href;
  const program = `
    import { serve } from ${JSON.stringify(index)};
    import { startedDevice } from ${JSON.stringify(client)};
    const socketPath = ${JSON.stringify(socketPath)};
    const disk = { sizeBytes: 65536, read() { throw new Error('no read today'); }, write() {} };
    await using served = await serve({ socketPath, disk });
    const { device, queue } = await startedDevice(socketPath);
    await queue.write(0, new Uint8Array(512));
    for (let round = 0; round < 3; round++) {
      await queue.read(0, new Uint8Array(512)).catch(() => {});
    }
    device[Symbol.dispose]();
    await served.close();
  `.replace('await using', 'const');
  const args = ['--input-type=module', '--eval', program];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.deepEqual([status, stdout], [0, ''], stderr);
  assert.match(
    stderr,
    /^vhostkit: a disk object: read of 512 bytes at offset 0 failed: Error: no read today\n( +at .*\n)+$/,
  );
});
