/** Devices of asynchronous code: promises, streams and runs, on files and on our server. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { suite, type TestContext, test } from 'node:test';
import {
  type Device,
  MemoryRegion,
  openDevice,
  type RunRequest,
  runRequests,
} from '../../src/blkio/index.ts';
import { imageFolder } from '../support/image-folder.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;
const SIZE_BYTES = 4 * MIB;

/** A device with an image behind it. */
interface Place {
  readonly device: Device;
  readonly image: () => Uint8Array;
}

async function onFile(t: TestContext, body: (place: Place) => Promise<void>): Promise<void> {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, '');
  truncateSync(path, SIZE_BYTES);
  await using device = await openDevice('io_uring', { path });
  await body({ device, image: () => readFileSync(path) });
}

async function onServer(_t: TestContext, body: (place: Place) => Promise<void>): Promise<void> {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const properties = { path: disk.socketPath, 'num-queues': 2 };
  await using device = await openDevice('virtio-blk-vhost-user', properties);
  await body({ device, image: () => disk.readImage() });
}

const PLACES = [
  ['io_uring', onFile],
  ['virtio-blk-vhost-user', onServer],
] as const;

for (const [name, on] of PLACES) {
  suite(`a device, ${name}`, () => {
    test('what is written is read, and is in the image', (t) =>
      on(t, async ({ device, image }) => {
        const data = patternBytes(65536);
        await device.write(4096, data, { fua: true });
        const back = new Uint8Array(65536);
        await device.read(4096, back);
        assertSameBytes(back, data, 'read');
        assertSameBytes(image().subarray(4096, 4096 + 65536), data, 'image');
        await device.writeZeroes(4096, 8192);
        await device.discard(65536, 4096);
        await device.flush();
        await device.read(4096, back);
        assertSameBytes(back.subarray(0, 8192), new Uint8Array(8192), 'zeros');
      }));

    test('mapped memory is not copied', (t) =>
      on(t, async ({ device }) => {
        using region = MemoryRegion.allocate(MIB);
        await device.mapRegion(region);
        await device.write(0, region.view(0, 4096));
        await device.read(0, region.view(8192, 4096).subarray(512, 1024));
        assert.equal(device.bounced, 0);
        await device.unmapRegion(region);
      }));

    test('thousands of requests at once are all done', (t) =>
      on(t, async ({ device }) => {
        const block = (index: number) => patternBytes(512, index % 100);
        const places = Array.from({ length: 3000 }, (_, index) => index);
        await Promise.all(places.map((index) => device.write(index * 512, block(index))));
        const buffers = places.map(() => new Uint8Array(512));
        await Promise.all(places.map((index) => device.read(index * 512, buffers[index])));
        for (const index of places) assertSameBytes(buffers[index], block(index), `${index}`);
      }));

    test('an aborted request rejects with the reason, others go on', (t) =>
      on(t, async ({ device }) => {
        const early = AbortSignal.abort(new Error('too early'));
        const refused = device.read(0, new Uint8Array(512), { signal: early });
        await assert.rejects(refused, /too early/);
        const controller = new AbortController();
        const { signal } = controller;
        const late = device.read(0, new Uint8Array(512), { signal });
        const other = device.read(0, new Uint8Array(512));
        controller.abort(new Error('changed my mind'));
        await assert.rejects(late, /changed my mind/);
        await other;
      }));

    test('what makes no sense is refused with a reason', (t) =>
      on(t, async ({ device }) => {
        const beyond = device.read(SIZE_BYTES, new Uint8Array(512));
        const message = `read: bytes 4194304 to 4194816 of a device of ${SIZE_BYTES}`;
        await assert.rejects(beyond, { name: 'BlkioError', code: 'EINVAL', message });
      }));

    test('closing waits for what is under way', async (t) => {
      let read = Promise.resolve();
      const buffer = new Uint8Array(MIB).fill(7);
      await on(t, async ({ device }) => {
        read = device.read(0, buffer);
      });
      await read;
      assert.equal(buffer.some(Boolean), false);
    });
  });

  suite(`streams, ${name}`, () => {
    test('chunks of any size are written in order, and an odd end keeps what is behind', (t) =>
      on(t, async ({ device, image }) => {
        await device.write(0, new Uint8Array(SIZE_BYTES).fill(0xee));
        const data = patternBytes(3 * MIB + 777);
        const cuts = [0, 1, 511, 513, 70_001, 70_001, 2 * MIB, data.length];
        const chunks = cuts.slice(1).map((end, index) => data.subarray(cuts[index], end));
        await pipeline(Readable.from(chunks), device.createWriteStream({ start: 4096 }));
        const found = image();
        assertSameBytes(found.subarray(4096, 4096 + data.length), data, 'image');
        assert.equal(found[4095], 0xee);
        assert.equal(found[4096 + data.length], 0xee);
      }));

    test('any range is read, whatever the size of the chunks', (t) =>
      on(t, async ({ device }) => {
        const data = patternBytes(SIZE_BYTES);
        await device.write(0, data);
        const ranges = [
          { start: 0, end: SIZE_BYTES },
          { start: 1, end: 2 },
          { start: 1000, end: 3 * MIB + 5, chunkBytes: 4096, depth: 3 },
          { start: 511, end: 70_000, chunkBytes: 100 },
          { start: 512, end: 512 },
        ];
        for (const range of ranges) {
          const bytes = Buffer.concat(await device.createReadStream(range).toArray());
          assertSameBytes(bytes, data.subarray(range.start, range.end), JSON.stringify(range));
        }
      }));

    test('a reader that rests holds the device back', (t) =>
      on(t, async ({ device }) => {
        let reads = 0;
        const read = device.read.bind(device);
        device.read = (...request) => {
          reads += 1;
          return read(...request);
        };
        const stream = device.createReadStream({ chunkBytes: 4096, depth: 4 });
        const chunks = stream[Symbol.asyncIterator]();
        const first: unknown = (await chunks.next()).value;
        assert.ok(first instanceof Uint8Array && first.length >= 4096);
        await device.flush();
        await device.flush();
        assert.ok(reads <= 10, `${reads} reads of 1024 for a reader that has taken one chunk`);
        await chunks.return?.();
        assert.ok(stream.destroyed);
      }));

    test('a stream that does not fit is refused', async (t) =>
      on(t, async ({ device }) => {
        assert.throws(() => device.createReadStream({ end: SIZE_BYTES + 1 }), { code: 'EINVAL' });
        if (device.requestAlignment > 1) {
          assert.throws(() => device.createWriteStream({ start: 1 }), { code: 'EINVAL' });
          const end = device.createWriteStream({ start: SIZE_BYTES - 512 });
          await assert.rejects(pipeline(Readable.from([Buffer.alloc(1024)]), end), {
            code: 'EINVAL',
          });
        }
      }));

    test('a copy from one device to another has the same digest', (t) =>
      on(t, async ({ device }) => {
        const data = patternBytes(SIZE_BYTES, 5);
        await device.write(0, data);
        await onFile(t, async ({ device: target, image }) => {
          await pipeline(device.createReadStream(), target.createWriteStream());
          const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
          assert.equal(digest(image()), digest(data));
        });
      }));
  });

  suite(`runs, ${name}`, () => {
    test('each request is yielded once, with what it was given, failures too', (t) =>
      on(t, async ({ device }) => {
        const requests = function* (): Generator<RunRequest<number>> {
          for (let index = 0; index < 500; index++) {
            const offset = index === 250 ? SIZE_BYTES : index * 4096;
            yield { type: 'read', offset, buffer: new Uint8Array(4096), userData: index };
          }
          yield { type: 'flush', userData: 500 };
        };
        const seen = new Set<number>();
        for await (const { userData, error } of runRequests(device, requests(), 16)) {
          assert.equal(seen.has(userData), false);
          seen.add(userData);
          assert.equal(error?.code, userData === 250 ? 'EINVAL' : undefined);
        }
        assert.equal(seen.size, 501);
      }));

    test('leaving early waits for what is under way', (t) =>
      on(t, async ({ device }) => {
        const buffers = Array.from({ length: 64 }, () => new Uint8Array(4096));
        const requests = buffers.map((buffer, index) => ({
          ...({ type: 'read', offset: index * 4096, buffer } as const),
          userData: index,
        }));
        for await (const _completion of runRequests(device, requests)) break;
        await device.flush();
      }));
  });
}
