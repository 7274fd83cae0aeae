/** Queues whose requests are promises. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type AsyncQueue, MemoryRegion } from '../../src/blkio/index.ts';
import { fewSlots } from './blkio-completion-suite.ts';
import { type BlkioPlace, DISK_BYTES } from './blkio-place.ts';
import { withCode } from './blkio-queue-results.ts';
import { assertSameBytes, patternBytes } from './request-bytes.ts';

const UNIT = 4096;

/** See the module's comment. The disk keeps what is written. */
export function asyncSuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  suite(`promises, ${name}`, () => {
    test('every kind of request does what it says', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).asyncQueue(0);
      const read = new Uint8Array(UNIT);
      await queue.read(UNIT, read);
      assertSameBytes(read, content.subarray(UNIT, 2 * UNIT), 'read');
      const data = patternBytes(2 * UNIT, 5);
      await queue.write(0, data, { fua: true });
      await queue.writev(4 * UNIT, [data.subarray(0, 100), data.subarray(100)]);
      const list = [new Uint8Array(UNIT), new Uint8Array(UNIT)];
      await queue.readv(4 * UNIT, list);
      assertSameBytes(Buffer.concat(list), data, 'readv');
      await queue.writeZeroes(8 * UNIT, UNIT);
      await queue.writeZeroes(9 * UNIT, UNIT, { noUnmap: true, fua: true });
      await queue.flush();
      content.set(data, 0);
      content.set(data, 4 * UNIT);
      content.fill(0, 8 * UNIT, 10 * UNIT);
      await queue.discard(100 * UNIT, UNIT);
      assertSameBytes(disk.readImage(0, 100 * UNIT), content.subarray(0, 100 * UNIT), 'image');
      assert.equal(queue.outstanding, 0);
    });

    test('many at once, more than there are slots', { skip }, async () => {
      await using disk = await place.start();
      const queue = (await disk.started({}, fewSlots(place, 8))).asyncQueue(0);
      const blocks = DISK_BYTES / UNIT;
      const data = patternBytes(DISK_BYTES);
      const block = (bytes: Uint8Array, at: number): Uint8Array =>
        bytes.subarray(at * UNIT, (at + 1) * UNIT);
      const numbers = Array.from({ length: blocks }, (_, at) => at);
      const writes = numbers.map((at) => queue.write(at * UNIT, block(data, at)));
      assert.ok(queue.outstanding > 8 || driver === 'io_uring');
      await Promise.all(writes);
      const back = new Uint8Array(DISK_BYTES);
      await Promise.all(numbers.map((at) => queue.read(at * UNIT, block(back, at))));
      assertSameBytes(back, data, 'read');
      assertSameBytes(disk.readImage(), data, 'image');
    });

    test('one after the other', { skip }, async () => {
      await using disk = await place.start();
      const queue = (await disk.started()).asyncQueue(0);
      for (let round = 1; round <= 200; round++) {
        await queue.write(0, new Uint8Array(UNIT).fill(round));
        const buffer = new Uint8Array(UNIT);
        await queue.read(0, buffer);
        assert.equal(buffer[round], round & 0xff);
      }
    });

    test('a mapped region is not copied', { skip }, async () => {
      await using disk = await place.start({ content: patternBytes(DISK_BYTES) });
      using region = MemoryRegion.allocate(4 * UNIT);
      const device = await disk.started();
      await device.mapRegion(region);
      const queue = device.asyncQueue(0);
      await queue.read(0, region.view(0, UNIT));
      assertSameBytes(region.view(0, UNIT), disk.readImage(0, UNIT), 'region');
      assert.equal(queue.bounced, 0);
      await queue.read(0, new Uint8Array(UNIT));
      assert.equal(queue.bounced, driver === 'io_uring' ? 0 : 1);
    });

    test('several queues of one device', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 3 });
      const queues = [0, 1, 2].map((index) => device.asyncQueue(index));
      await Promise.all(
        queues.map((queue, at) => queue.write(at * UNIT, new Uint8Array(UNIT).fill(at + 1))),
      );
      const image = disk.readImage(0, 3 * UNIT);
      assert.deepEqual([image[0], image[UNIT], image[2 * UNIT]], [1, 2, 3]);
    });
  });
}

/** Requests that end otherwise. */
export function asyncRefusalSuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  const withQueue = async (
    body: (queue: AsyncQueue) => Promise<void>,
    settings = {},
  ): Promise<void> => {
    await using disk = await place.start();
    await body((await disk.started(settings, fewSlots(place, 8))).asyncQueue(0));
  };

  suite(`promises that reject, ${name}`, () => {
    test('with the error of the request', { skip }, async () => {
      await withQueue(async (queue) => {
        const buffer = new Uint8Array(UNIT);
        await assert.rejects(queue.read(DISK_BYTES, buffer), withCode('EINVAL'));
        await assert.rejects(queue.read(-1, buffer), withCode('EINVAL'));
        await assert.rejects(queue.discard(DISK_BYTES, UNIT), withCode('EINVAL'));
        await assert.rejects(queue.writeZeroes(DISK_BYTES, UNIT), withCode('EINVAL'));
        if (driver === 'virtio-blk-vhost-user') {
          const zeroing = queue.writeZeroes(0, UNIT, { noFallback: true });
          await assert.rejects(zeroing, withCode('ENOTSUP'));
        }
        await queue.read(0, buffer);
      });
    });

    test('writes of a read-only device: EBADF', { skip }, async () => {
      await withQueue(
        async (queue) => {
          await assert.rejects(queue.write(0, new Uint8Array(UNIT)), withCode('EBADF'));
          await assert.rejects(queue.writeZeroes(0, UNIT), withCode('EBADF'));
          await assert.rejects(queue.discard(0, UNIT), withCode('EBADF'));
          await queue.flush();
        },
        { 'read-only': true },
      );
    });

    test('very many of them, in line behind others', { skip }, async () => {
      await withQueue(async (queue) => {
        const buffer = new Uint8Array(UNIT);
        const reads = Array.from({ length: 20 }, () => queue.read(0, buffer));
        const wrong = Array.from({ length: 20_000 }, () => queue.read(-1, buffer));
        const last = queue.read(0, buffer);
        const results = await Promise.allSettled(wrong);
        await Promise.all(reads);
        assert.ok(results.every(({ status }) => status === 'rejected'));
        await last;
        assert.equal(queue.outstanding, 0);
      });
    });

    test('when given up before they are made', { skip }, async () => {
      await withQueue(async (queue) => {
        const reason = new Error('no longer wanted');
        const signal = AbortSignal.abort(reason);
        const buffer = new Uint8Array(UNIT);
        for (const request of [
          queue.read(0, buffer, { signal }),
          queue.write(0, buffer, { signal }),
          queue.readv(0, [buffer], { signal }),
          queue.flush({ signal }),
          queue.discard(0, UNIT, { signal }),
        ]) {
          await assert.rejects(request, reason);
        }
        assert.equal(queue.outstanding, 0);
      });
    });

    test('when given up later: once the buffer is free', { skip }, async () => {
      await withQueue(async (queue) => {
        const controller = new AbortController();
        const { signal } = controller;
        const reads = Array.from({ length: 30 }, () =>
          queue.read(0, new Uint8Array(UNIT), { signal }),
        );
        const other = queue.read(0, new Uint8Array(UNIT));
        const reason = new Error('no longer wanted');
        controller.abort(reason);
        const results = await Promise.allSettled(reads);
        // Some may have been done by then, where that is quick.
        const rejected = results.filter((result) => result.status === 'rejected');
        assert.ok(rejected.every((result) => result.reason === reason));
        assert.ok(rejected.length > 0 || driver === 'io_uring');
        await other;
        assert.equal(queue.outstanding, 0);
        await queue.flush();
      });
    });
  });
}
