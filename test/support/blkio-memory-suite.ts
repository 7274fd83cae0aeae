/** Memory regions: what can be mapped, and that requests reach it without copying. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CompletionList, MemoryRegion, type Queue } from '../../src/blkio/index.ts';
import { createMemfd } from '../../src/sys/index.ts';
import { type BlkioPlace, DISK_BYTES, type PlacedDisk } from './blkio-place.ts';
import { doAll, readBytes, WAIT_MS, withCode } from './blkio-queue-results.ts';
import { assertSameBytes, patternBytes } from './request-bytes.ts';

const PAGE = 4096;

/** Write a region's part to the disk and read it back into another part. */
async function roundTrip(disk: PlacedDisk, queue: Queue, region: MemoryRegion): Promise<void> {
  const data = patternBytes(2 * PAGE, region.sizeBytes / PAGE);
  const [source, target] = [region.view(0, 2 * PAGE), region.view(2 * PAGE, 2 * PAGE)];
  source.set(data);
  doAll(queue, () => queue.write(PAGE, source));
  assertSameBytes(disk.readImage(PAGE, 2 * PAGE), data, 'image');
  doAll(queue, () => queue.readv(PAGE, [target.subarray(0, 512), target.subarray(512)]));
  assertSameBytes(target, data, 'region');
}

/** See the module's comment. The disk keeps what is written. */
export function memorySuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  const isRemote = driver === 'virtio-blk-vhost-user';

  suite(`memory regions, ${name}`, () => {
    test('are used without copying, other memory where the device must', { skip }, async () => {
      await using disk = await place.start();
      using region = MemoryRegion.allocate(4 * PAGE);
      const device = await disk.started();
      const queue = device.queue(0);
      await device.mapRegion(region);
      await roundTrip(disk, queue, region);
      assert.equal(queue.bounced, 0);
      readBytes(queue, 0, PAGE);
      assert.equal(queue.bounced, isRemote ? 1 : 0);
      // One buffer that cannot be reached is enough.
      doAll(queue, () => queue.readv(0, [region.view(0, PAGE), new Uint8Array(PAGE)]));
      assert.equal(queue.bounced, isRemote ? 2 : 0);
    });

    test('can be mapped before the device is started', { skip }, async () => {
      await using disk = await place.start();
      using region = MemoryRegion.allocate(4 * PAGE);
      using early = MemoryRegion.allocate(4 * PAGE);
      const device = disk.device();
      await assert.rejects(device.mapRegion(region), withCode('ENODEV'));
      await device.connect();
      await device.mapRegion(early);
      await device.unmapRegion(early);
      await device.mapRegion(region);
      await device.start();
      const queue = device.queue(0);
      await roundTrip(disk, queue, region);
      assert.equal(queue.bounced, 0);
    });

    test('can be mapped while it starts', { skip }, async () => {
      await using disk = await place.start();
      using region = MemoryRegion.allocate(4 * PAGE);
      const device = await disk.connected();
      await Promise.all([device.start(), device.mapRegion(region)]);
      const queue = device.queue(0);
      await roundTrip(disk, queue, region);
      assert.equal(queue.bounced, 0);
    });

    test('can be used while they are being mapped', { skip }, async () => {
      await using disk = await place.start();
      using region = MemoryRegion.allocate(4 * PAGE);
      const device = await disk.started();
      const queue = device.asyncQueue(0);
      const data = patternBytes(PAGE, 3);
      region.view(0, PAGE).set(data);
      const mapped = device.mapRegion(region);
      // The device has not been told yet, or does not know yet.
      await queue.write(0, region.view(0, PAGE));
      await mapped;
      assert.equal(queue.bounced, isRemote ? 1 : 0);
      await queue.read(0, region.view(PAGE, PAGE));
      assertSameBytes(region.view(PAGE, PAGE), data, 'region');
      assert.equal(queue.bounced, isRemote ? 1 : 0);
    });

    test("a user's own memfd, or a part of it", { skip }, async () => {
      await using disk = await place.start();
      using memfd = createMemfd('users', 16 * PAGE);
      using region = MemoryRegion.ofFile(memfd.number, 8 * PAGE, 8 * PAGE);
      using other = MemoryRegion.ofFile(memfd.number, 8 * PAGE, 8 * PAGE);
      const device = await disk.started();
      const queue = device.queue(0);
      await device.mapRegion(region);
      await roundTrip(disk, queue, region);
      assert.equal(queue.bounced, 0);
      assertSameBytes(other.view(0, 4 * PAGE), region.view(0, 4 * PAGE), 'the same memory');
    });

    test('twice: EINVAL, and again when unmapped', { skip }, async () => {
      await using disk = await place.start();
      using region = MemoryRegion.allocate(4 * PAGE);
      const device = await disk.started();
      const queue = device.queue(0);
      await assert.rejects(device.unmapRegion(region), withCode('EINVAL'));
      await device.mapRegion(region);
      await assert.rejects(device.mapRegion(region), withCode('EINVAL'));
      await device.unmapRegion(region);
      await assert.rejects(device.unmapRegion(region), withCode('EINVAL'));
      await roundTrip(disk, queue, region);
      assert.equal(queue.bounced, isRemote ? 2 : 0, 'not mapped: copied');
      await device.mapRegion(region);
      await roundTrip(disk, queue, region);
      assert.equal(queue.bounced, isRemote ? 2 : 0);
    });

    test('memory is as it was when the device is gone', { skip }, async () => {
      using region = MemoryRegion.allocate(4 * PAGE);
      for (let round = 0; round < 2; round++) {
        await using disk = await place.start();
        const device = await disk.started();
        await device.mapRegion(region);
        await roundTrip(disk, device.queue(0), region);
      }
      assertSameBytes(region.view(0, 2 * PAGE), patternBytes(2 * PAGE, 4), 'region');
    });

    test('lists of many buffers, for rings of every size', { skip }, async () => {
      for (const size of isRemote ? [1, 2, 4, 16, 32, 256] : [1, 128]) {
        const content = patternBytes(DISK_BYTES);
        await using disk = await place.start({ content });
        using region = MemoryRegion.allocate(256 * PAGE);
        const property = isRemote ? 'queue-size' : 'num-entries';
        const device = await disk.started({}, { [property]: size });
        await device.mapRegion(region);
        const queue = device.queue(0);
        const most = Math.min(device.getTyped('max-segments', 'int'), 256);
        for (const count of [1, 2, 5, 14, 15, 20, 40, most].filter((each) => each <= most)) {
          const buffers = Array.from({ length: count }, (_, at) => region.view(at * PAGE, PAGE));
          doAll(queue, () => queue.readv(0, buffers));
          const read = region.view(0, count * PAGE);
          assertSameBytes(read, content.subarray(0, count * PAGE), `${count} buffers, ${size}`);
        }
        assert.equal(queue.bounced, 0);
      }
    });

    test('more than there is to copy through waits, in every queue', { skip }, async () => {
      const sizeBytes = 8 * 1024 * 1024;
      await using disk = await place.start({ sizeBytes });
      const device = await disk.started({}, { 'num-queues': 2 });
      const queues = [device.queue(0), device.queue(1)];
      const most = device.getTyped('max-transfer', 'int') || sizeBytes;
      const buffer = new Uint8Array(Math.min(most, 4 * 1024 * 1024)).fill(7);
      for (const queue of queues) {
        for (let index = 0; index < 20; index++) queue.write(0, buffer, index);
      }
      // The second has not had its turn, and cannot help.
      const list = new CompletionList(20);
      for (const queue of queues.reverse()) {
        assert.equal(queue.doIo(list, 20, 20, WAIT_MS), 20);
        assert.ok(list.results.every((result) => result === 0));
      }
      assert.equal(disk.readImage(0, 1)[0], 7);
    });
  });
}

/** What is refused. */
export function memoryRefusalSuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  suite(`memory regions that are refused, ${name}`, () => {
    test('sizes and places that make no sense: EINVAL', { skip }, () => {
      for (const size of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.throws(() => MemoryRegion.allocate(size), withCode('EINVAL'), String(size));
      }
      using memfd = createMemfd('short', PAGE);
      assert.throws(() => MemoryRegion.ofFile(memfd.number, 0, 0), withCode('EINVAL'));
      assert.throws(() => MemoryRegion.ofFile(memfd.number, -PAGE, PAGE), withCode('EINVAL'));
      // Memory that the file has not got ends the process that touches it.
      assert.throws(() => MemoryRegion.ofFile(memfd.number, 0, PAGE + 1), withCode('EINVAL'));
      assert.throws(() => MemoryRegion.ofFile(memfd.number, PAGE, PAGE), withCode('EINVAL'));
      assert.throws(() => MemoryRegion.ofFile(1_000_000, 0, PAGE), withCode('EBADF'));
    });

    test('parts that are not in the region: EINVAL', { skip }, () => {
      using region = MemoryRegion.allocate(PAGE);
      for (const [offset, size] of [
        [0, 0],
        [0, PAGE + 1],
        [-1, 2],
        [PAGE, 1],
        [Number.NaN, 1],
        [0.5, 1],
      ]) {
        assert.throws(() => region.view(offset, size), withCode('EINVAL'), `${offset}+${size}`);
      }
      assert.equal(region.view(PAGE - 1, 1).length, 1);
    });

    if (driver === 'io_uring') return;
    test('misaligned: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      using odd = MemoryRegion.allocate(PAGE + 512);
      using memfd = createMemfd('users', 4 * PAGE);
      using shifted = MemoryRegion.ofFile(memfd.number, 512, PAGE);
      const device = await disk.started();
      await assert.rejects(device.mapRegion(odd), withCode('EINVAL'));
      await assert.rejects(device.mapRegion(shifted), withCode('EINVAL'));
    });

    test('as many as max-mem-regions, and one more: ENOMEM', { skip }, async (t) => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 4 });
      const most = Number(device.getTyped('max-mem-regions', 'uint64'));
      assert.ok(most >= 1);
      const regions = Array.from({ length: most + 1 }, () => MemoryRegion.allocate(PAGE));
      t.after(() => {
        for (const region of [...regions, last]) region[Symbol.dispose]();
      });
      const last = regions.pop() as MemoryRegion;
      for (const region of regions) await device.mapRegion(region);
      const queue = device.queue(3);
      for (const region of regions) doAll(queue, () => queue.read(0, region.view(0, PAGE)));
      assert.equal(queue.bounced, 0);
      await assert.rejects(device.mapRegion(last), withCode('ENOMEM'));
      await device.unmapRegion(regions[0]);
      await device.mapRegion(last);
      doAll(queue, () => queue.read(0, last.view(0, PAGE)));
      assert.equal(queue.bounced, 0);
    });
  });
}
