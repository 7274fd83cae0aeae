/** The io_uring driver: what is of files only. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { Blkio } from '../../../src/blkio/index.ts';
import { asNobody } from '../../support/as-nobody.ts';
import { DISK_BYTES, FILE_PLACES } from '../../support/blkio-place.ts';
import { doAll, readBytes, resultOf, withCode } from '../../support/blkio-queue-results.ts';
import { cannotMount, smallTmpfs } from '../../support/host-file-systems.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { assertSameBytes, patternBytes } from '../../support/request-bytes.ts';

const UNIT = 4096;

for (const place of FILE_PLACES) {
  const { name, skip } = place;
  suite(`files, ${name}`, () => {
    test('a descriptor instead of a path, taken over', { skip }, async () => {
      const content = patternBytes(DISK_BYTES);
      await using disk = await place.start({ content });
      const fd = openSync(disk.imagePath, 'r+');
      const device = await disk.started({ path: '', fd });
      const queue = device.queue(0);
      assert.equal(device.get('fd'), fd);
      assertSameBytes(readBytes(queue, UNIT, UNIT), content.subarray(UNIT, 2 * UNIT), 'read');
      doAll(queue, () => queue.write(0, patternBytes(UNIT, 9)));
      assertSameBytes(disk.readImage(0, UNIT), patternBytes(UNIT, 9), 'image');
      device.close();
      assert.throws(() => fstatSync(fd), { code: 'EBADF' });
    });

    test('a flush does not wait for one of a queue that nobody looks at', { skip }, async () => {
      await using disk = await place.start({ content: patternBytes(DISK_BYTES) });
      const device = await disk.started({}, { 'num-queues': 3 });
      const [left, queue, other] = [device.queue(0), device.queue(1), device.queue(2)];
      for (const busy of [left, queue, other]) {
        busy.write(0, patternBytes(UNIT));
        busy.flush();
      }
      for (const busy of [queue, other, left]) doAll(busy, () => busy.flush());
    });

    test('a descriptor that only reads: EROFS, unless read-only is set', { skip }, async () => {
      await using disk = await place.start();
      const fd = openSync(disk.imagePath, 'r');
      const device = await disk.connected({ path: '', fd });
      await assert.rejects(device.start(), withCode('EROFS'));
      device.close();
      const again = openSync(disk.imagePath, 'r');
      const reader = await disk.started({ path: '', fd: again, 'read-only': true });
      readBytes(reader.queue(0), 0, UNIT);
    });

    test('a descriptor of a file without a name', { skip }, async () => {
      await using disk = await place.start({ content: patternBytes(DISK_BYTES) });
      const fd = openSync(disk.imagePath, 'r+');
      rmSync(disk.imagePath);
      const device = await disk.started({ path: '', fd });
      assertSameBytes(
        readBytes(device.queue(0), 0, UNIT),
        patternBytes(DISK_BYTES).subarray(0, UNIT),
        'read',
      );
    });

    test('both or neither: EINVAL; no such descriptor: EBADF', { skip }, async () => {
      await using disk = await place.start();
      const fd = openSync(disk.imagePath, 'r+');
      await assert.rejects(disk.connected({ fd }), withCode('EINVAL'));
      fstatSync(fd);
      closeSync(fd);
      await assert.rejects(disk.connected({ path: '' }), withCode('EINVAL'));
      await assert.rejects(disk.connected({ path: '', fd: 1_000_000 }), withCode('EBADF'));
      assert.throws(() => disk.device({ path: '', fd: -2 }), withCode('EINVAL'));
    });

    test('writes behind the end make the file larger', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      const queue = device.queue(0);
      assert.equal(
        resultOf(queue, () => queue.read(DISK_BYTES, new Uint8Array(UNIT))),
        'EINVAL',
      );
      doAll(queue, () => queue.write(DISK_BYTES + UNIT, patternBytes(UNIT)));
      assert.equal(statSync(disk.imagePath).size, DISK_BYTES + 2 * UNIT);
      assert.equal(device.capacityBytes, DISK_BYTES + 2 * UNIT);
      assertSameBytes(readBytes(queue, DISK_BYTES, UNIT), new Uint8Array(UNIT), 'gap');
      assertSameBytes(readBytes(queue, DISK_BYTES + UNIT, UNIT), patternBytes(UNIT), 'data');
      assert.equal(device.get('can-grow'), true);
    });

    test('an empty file grows, too', { skip }, async () => {
      await using disk = await place.start({ sizeBytes: 0 });
      const device = await disk.started();
      assert.equal(device.get('capacity'), 0n);
      const queue = device.queue(0);
      doAll(queue, () => queue.write(0, patternBytes(UNIT)));
      assert.equal(device.get('capacity'), BigInt(UNIT));
      assertSameBytes(disk.readImage(), patternBytes(UNIT), 'image');
    });

    test('a file that another makes larger or smaller', { skip }, async () => {
      await using disk = await place.start({ content: patternBytes(DISK_BYTES) });
      const device = await disk.started();
      const queue = device.queue(0);
      truncateSync(disk.imagePath, DISK_BYTES + UNIT);
      assert.equal(device.capacityBytes, DISK_BYTES + UNIT);
      assertSameBytes(readBytes(queue, DISK_BYTES, UNIT), new Uint8Array(UNIT), 'new');
      truncateSync(disk.imagePath, UNIT);
      assert.equal(device.capacityBytes, UNIT);
      // What was there when the device last looked is lost, which is not the same as zeros.
      assert.equal(
        resultOf(queue, () => queue.read(UNIT, new Uint8Array(UNIT))),
        'EIO',
      );
    });

    test('a read-only device does not grow', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({ 'read-only': true });
      assert.equal(device.get('can-grow'), false);
      const queue = device.queue(0);
      assert.equal(
        resultOf(queue, () => queue.write(0, new Uint8Array(UNIT))),
        'EBADF',
      );
    });

    test('a file that is in use: EBUSY, unless locking is off', { skip }, async () => {
      await using disk = await place.start();
      const first = await disk.started();
      await assert.rejects(disk.connected(), (error: Error) => {
        // What the reader can set, by its name here.
        assert.match(error.message, /is in use: .*\(stop that process, or use locking=false if /);
        return withCode('EBUSY')(error);
      });
      await disk.started({ locking: false });
      first.close();
      await disk.started();
    });

    test('a start without queues is fine, as there can be some later', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 0 });
      assert.throws(() => device.queue(0), withCode('ENOENT'));
    });
  });
}

suite('files that cannot be used', () => {
  test('a folder, a character device: EINVAL', async (t) => {
    const folder = imageFolder(t);
    mkdirSync(join(folder, 'folder'));
    for (const path of [join(folder, 'folder'), '/dev/null']) {
      using device = new Blkio('io_uring');
      device.set('path', path);
      await assert.rejects(device.connect(), withCode('EINVAL'));
    }
  });

  test('a file without permission: EACCES', async (t) => {
    const folder = imageFolder(t);
    const path = join(folder, 'image');
    writeFileSync(path, new Uint8Array(UNIT), { mode: 0o400 });
    chmodSync(folder, 0o755);
    using device = new Blkio('io_uring');
    device.set('path', path);
    await asNobody(() => assert.rejects(device.connect(), withCode('EACCES')));
  });

  test('links that lead in a circle: EIO, as that code says nothing of a device', async (t) => {
    const path = join(imageFolder(t), 'link');
    symlinkSync(path, path);
    using device = new Blkio('io_uring');
    device.set('path', path);
    await assert.rejects(device.connect(), (error: Error) => {
      assert.match(error.message, /too many symbolic links/);
      return withCode('EIO')(error);
    });
  });

  test('a file without direct I/O: EINVAL, and what asked for it is named', async () => {
    using device = new Blkio('io_uring');
    // The kernel's own files are on such a file system.
    device.set('path', '/proc/self/environ');
    device.set('read-only', true);
    device.set('direct', true);
    await assert.rejects(device.connect(), (error: Error) => {
      assert.match(error.message, /^cannot open \S+ with direct=true: its file system has no /);
      return withCode('EINVAL')(error);
    });
  });

  test('a full file system: ENOSPC', { skip: cannotMount() }, async (t) => {
    const path = join(smallTmpfs(t, 16 * UNIT), 'image');
    writeFileSync(path, new Uint8Array(UNIT));
    using device = new Blkio('io_uring');
    device.set('path', path);
    await device.connect();
    await device.start();
    const queue = device.queue(0);
    const data = patternBytes(32 * UNIT);
    assert.equal(
      resultOf(queue, () => queue.write(0, data)),
      'ENOSPC',
    );
    doAll(queue, () => queue.write(0, data.subarray(0, UNIT)));
    assertSameBytes(readFileSync(path).subarray(0, UNIT), data.subarray(0, UNIT), 'image');
  });
});
