/** Requests one at a time: what each does to the disk, and what is refused, with which error. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CompletionList, type Queue, RequestFlag } from '../../src/blkio/index.ts';
import { type BlkioPlace, DISK_BYTES } from './blkio-place.ts';
import { doAll, readBytes, resultOf } from './blkio-queue-results.ts';
import { assertSameBytes, patternBytes } from './request-bytes.ts';

const { FUA, NO_UNMAP, NO_FALLBACK } = RequestFlag;
const UNIT = 4096;

/** Every kind of request, on the first block. */
const KINDS: Readonly<Record<string, (queue: Queue, flags: number) => void>> = {
  read: (queue, flags) => queue.read(0, new Uint8Array(UNIT), 0, flags),
  write: (queue, flags) => queue.write(0, new Uint8Array(UNIT), 0, flags),
  readv: (queue, flags) => queue.readv(0, [new Uint8Array(UNIT)], 0, flags),
  writev: (queue, flags) => queue.writev(0, [new Uint8Array(UNIT)], 0, flags),
  writeZeroes: (queue, flags) => queue.writeZeroes(0, UNIT, 0, flags),
  discard: (queue, flags) => queue.discard(0, UNIT, 0, flags),
  flush: (queue, flags) => queue.flush(0, flags),
};

const FLAGS: Readonly<Record<string, number>> = {
  read: 0,
  write: FUA,
  readv: 0,
  writev: FUA,
  writeZeroes: FUA | NO_UNMAP | NO_FALLBACK,
  discard: 0,
  flush: 0,
};

/** See the module's comment. The disk keeps what is written. */
export function requestSuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  suite(`requests, ${name}`, () => {
    test('a read gives what the file has', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).queue(0);
      assertSameBytes(readBytes(queue, 0, UNIT), content.subarray(0, UNIT), 'start');
      const tail = readBytes(queue, DISK_BYTES - UNIT, UNIT);
      assertSameBytes(tail, content.subarray(-UNIT), 'end');
      assertSameBytes(readBytes(queue, 0, DISK_BYTES), content, 'all');
    });

    test('a write is in the file, and nothing else changes', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).queue(0);
      const data = patternBytes(3 * UNIT, 7);
      doAll(queue, () => queue.write(5 * UNIT, data));
      content.set(data, 5 * UNIT);
      assertSameBytes(disk.readImage(), content, 'image');
    });

    test('lists of buffers are one range', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).queue(0);
      const sizes = [UNIT, 2 * UNIT, UNIT, 4 * UNIT];
      const read = sizes.map((size) => new Uint8Array(size));
      doAll(queue, () => queue.readv(UNIT, read));
      assertSameBytes(Buffer.concat(read), content.subarray(UNIT, 9 * UNIT), 'readv');
      const written = sizes.map((size, index) => patternBytes(size, index + 10));
      doAll(queue, () => queue.writev(20 * UNIT, written));
      content.set(Buffer.concat(written), 20 * UNIT);
      assertSameBytes(disk.readImage(), content, 'image');
    });

    test('buffers of a list may have any length, as long as the sum is right', {
      skip,
    }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).queue(0);
      const read = [1, 510, 0, 3, UNIT - 514].map((size) => new Uint8Array(size));
      doAll(queue, () => queue.readv(UNIT, read));
      assertSameBytes(Buffer.concat(read), content.subarray(UNIT, 2 * UNIT), 'readv');
      const data = patternBytes(UNIT, 3);
      const cut = [data.subarray(0, 100), data.subarray(100, 101), data.subarray(101)];
      doAll(queue, () => queue.writev(UNIT, cut));
      assertSameBytes(disk.readImage(UNIT, UNIT), data, 'image');
    });

    test('buffers may start anywhere in memory', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).queue(0);
      const buffer = new Uint8Array(UNIT + 7).fill(1);
      doAll(queue, () => queue.read(0, buffer.subarray(3, 3 + UNIT)));
      assertSameBytes(buffer.subarray(3, 3 + UNIT), content.subarray(0, UNIT), 'read');
      assert.deepEqual([...buffer.subarray(0, 3), ...buffer.subarray(-4)], new Array(7).fill(1));
      doAll(queue, () => queue.write(8 * UNIT, buffer.subarray(3, 3 + UNIT)));
      assertSameBytes(disk.readImage(8 * UNIT, UNIT), content.subarray(0, UNIT), 'image');
    });

    for (const [flags, what] of [
      [0, 'without flags'],
      [NO_UNMAP, 'with NO_UNMAP'],
      [FUA, 'with FUA'],
      [FUA | NO_UNMAP, 'with FUA and NO_UNMAP'],
    ] as const) {
      test(`write zeroes ${what}`, { skip }, async () => {
        const content = patternBytes(DISK_BYTES);
        await using disk = await place.start({ content });
        const queue = (await disk.started()).queue(0);
        doAll(queue, () => queue.writeZeroes(3 * UNIT, 50 * UNIT, 0, flags));
        content.fill(0, 3 * UNIT, 53 * UNIT);
        assertSameBytes(disk.readImage(), content, 'image');
      });
    }

    test('write zeroes with NO_FALLBACK: quickly or ENOTSUP', { skip }, async () => {
      await using disk = await place.start({ content: patternBytes(DISK_BYTES) });
      const queue = (await disk.started()).queue(0);
      const result = resultOf(queue, () => queue.writeZeroes(0, UNIT, 0, NO_FALLBACK));
      // Whether a back-end writes zeros from memory cannot be known.
      assert.equal(result, driver === 'io_uring' ? 'OK' : 'ENOTSUP');
      const isZeroed = disk.readImage(0, UNIT).every((byte) => byte === 0);
      assert.equal(isZeroed, driver === 'io_uring');
    });

    test('a discard touches no other data', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const queue = (await disk.started()).queue(0);
      doAll(queue, () => queue.discard(64 * UNIT, 64 * UNIT));
      const image = disk.readImage();
      assertSameBytes(image.subarray(0, 64 * UNIT), content.subarray(0, 64 * UNIT), 'before');
      assertSameBytes(image.subarray(128 * UNIT), content.subarray(128 * UNIT), 'behind');
    });

    test('FUA and flush', { skip }, async () => {
      await using disk = await place.start();
      const queue = (await disk.started()).queue(0);
      const data = patternBytes(UNIT);
      doAll(queue, () => queue.write(0, data, 0, FUA));
      doAll(queue, () => queue.writev(UNIT, [data.subarray(0, 512), data.subarray(512)], 0, FUA));
      doAll(queue, () => queue.flush());
      assertSameBytes(disk.readImage(0, 2 * UNIT), Buffer.concat([data, data]), 'image');
    });
  });
}

/** What is the same on disks that keep nothing. */
export function refusalSuite(place: BlkioPlace): void {
  const { name, blockBytes, driver, skip } = place;
  suite(`requests that are refused, ${name}`, () => {
    for (const [kind, make] of Object.entries(KINDS)) {
      test(`${kind}: flags that are not its own: EINVAL`, { skip }, async () => {
        await using disk = await place.start();
        const queue = (await disk.started()).queue(0);
        for (const flags of [FUA, NO_UNMAP, NO_FALLBACK, 8, 1 << 30, 1 << 31, -1]) {
          const isRight = (flags & ~FLAGS[kind]) === 0;
          if (isRight) continue;
          const result = resultOf(queue, () => make(queue, flags));
          assert.equal(result, 'EINVAL', `flags ${flags}`);
        }
        // The queue is none the worse for it.
        assert.equal(
          resultOf(queue, () => make(queue, 0)),
          'OK',
        );
      });
    }

    test('offsets and lengths that are not whole blocks: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      const queue = device.queue(0);
      const unit = device.getTyped('request-alignment', 'int');
      if (unit === 1) return;
      assert.ok(unit <= blockBytes);
      for (const [offset, length] of [
        [1, unit],
        [unit - 1, unit],
        [0, unit - 1],
        [0, unit + 1],
        [unit / 2, unit],
      ]) {
        const buffer = new Uint8Array(length);
        assert.equal(
          resultOf(queue, () => queue.read(offset, buffer)),
          'EINVAL',
        );
        assert.equal(
          resultOf(queue, () => queue.writev(offset, [buffer])),
          'EINVAL',
        );
        assert.equal(
          resultOf(queue, () => queue.writeZeroes(offset, length)),
          'EINVAL',
        );
        assert.equal(
          resultOf(queue, () => queue.discard(offset, length)),
          'EINVAL',
        );
      }
    });

    test('behind the end: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      const queue = device.queue(0);
      const buffer = new Uint8Array(2 * UNIT);
      for (const offset of [DISK_BYTES - UNIT, DISK_BYTES, DISK_BYTES * 2 ** 20]) {
        const results = [
          resultOf(queue, () => queue.read(offset, buffer)),
          resultOf(queue, () => queue.discard(offset, 2 * UNIT)),
          resultOf(queue, () => queue.writeZeroes(offset, 2 * UNIT)),
        ];
        assert.deepEqual(results, ['EINVAL', 'EINVAL', 'EINVAL'], `at ${offset}`);
        if (device.get('can-grow') === true) continue;
        assert.equal(
          resultOf(queue, () => queue.write(offset, buffer)),
          'EINVAL',
        );
      }
    });

    test('numbers that are no offsets or lengths: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      const queue = (await disk.started()).queue(0);
      const buffer = new Uint8Array(UNIT);
      for (const wrong of [-UNIT, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
        const results = [
          resultOf(queue, () => queue.read(wrong, buffer)),
          resultOf(queue, () => queue.write(wrong, buffer)),
          resultOf(queue, () => queue.readv(wrong, [buffer])),
          resultOf(queue, () => queue.discard(wrong, UNIT)),
          resultOf(queue, () => queue.writeZeroes(0, wrong)),
        ];
        assert.deepEqual(results, new Array(5).fill('EINVAL'), String(wrong));
      }
    });

    test('nothing at all is done at once', { skip }, async () => {
      await using disk = await place.start();
      const queue = (await disk.started()).queue(0);
      for (const request of [
        () => queue.read(0, new Uint8Array(0)),
        () => queue.write(DISK_BYTES, new Uint8Array(0)),
        () => queue.readv(0, []),
        () => queue.writev(0, [new Uint8Array(0), new Uint8Array(0)]),
        () => queue.writeZeroes(0, 0),
        () => queue.discard(0, 0),
      ]) {
        assert.equal(resultOf(queue, request), 'OK', String(request));
      }
    });

    test('as many buffers as there may be, and one more: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      const queue = device.queue(0);
      const most = device.getTyped('max-segments', 'int');
      const buffers = (count: number): Uint8Array[] =>
        Array.from({ length: count }, () => new Uint8Array(blockBytes));
      const count = Math.min(most, DISK_BYTES / blockBytes);
      assert.equal(
        resultOf(queue, () => queue.readv(0, buffers(count))),
        'OK',
      );
      assert.equal(
        resultOf(queue, () => queue.writev(0, buffers(count))),
        'OK',
      );
      const tooMany = new Array<Uint8Array>(most).fill(new Uint8Array(0));
      tooMany.push(new Uint8Array(blockBytes));
      assert.equal(
        resultOf(queue, () => queue.readv(0, tooMany)),
        'EINVAL',
      );
    });

    test('what a read-only device is not to do: EBADF', { skip }, async () => {
      await using disk = await place.start({ readOnly: true });
      const device = await disk.started({ 'read-only': true });
      assert.equal(device.get('read-only'), true);
      const queue = device.queue(0);
      for (const kind of ['write', 'writev', 'writeZeroes', 'discard']) {
        assert.equal(
          resultOf(queue, () => KINDS[kind](queue, 0)),
          'EBADF',
          kind,
        );
      }
      assert.equal(
        resultOf(queue, () => KINDS.read(queue, 0)),
        'OK',
      );
      assert.equal(
        resultOf(queue, () => KINDS.flush(queue, 0)),
        'OK',
      );
    });

    test('read-only of one side is enough', { skip }, async () => {
      // A back-end that could write is not asked to.
      await using disk = await place.start();
      const queue = (await disk.started({ 'read-only': true })).queue(0);
      assert.equal(
        resultOf(queue, () => KINDS.write(queue, 0)),
        'EBADF',
        driver,
      );
      assert.equal(
        resultOf(queue, () => KINDS.discard(queue, 0)),
        'EBADF',
      );
      assert.equal(
        resultOf(queue, () => KINDS.read(queue, 0)),
        'OK',
      );
    });

    test('a refusal says why', { skip }, async () => {
      await using disk = await place.start();
      const queue = (await disk.started()).queue(0);
      queue.read(DISK_BYTES, new Uint8Array(UNIT), 'token');

      const list = new CompletionList(1);
      assert.equal(queue.doIo(list, 1), 1);
      assert.match(list.messages[0] ?? '', /^bytes 1048576 to 1052672 of a device of 1048576$/);
      assert.equal(list.userData[0], 'token');
    });
  });
}
