/** Queues of one device in several threads: what holds wherever the device is. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { adoptQueue, type Blkio, MemoryRegion, type QueueHandle } from '../../src/blkio/index.ts';
import type { BlkioPlace, PlacedDisk } from './blkio-place.ts';
import { loadBytes } from './blocking-load.ts';
import { ClientLoad } from './client-load.ts';
import { steadyDescriptors, untilDescriptors } from './descriptor-count.ts';
import { eventually } from './eventually.ts';
import { QueueThread, type QueueThreadOptions } from './queue-threads.ts';
import { assertSameBytes } from './request-bytes.ts';

const LANES = 16;
const PART_BYTES = loadBytes(LANES);
const REGION_BYTES = LANES * 4096;
/** Requests of each thread. */
const ENOUGH = 500;

function partOf(index: number): Pick<QueueThreadOptions, 'lanes' | 'startBytes'> {
  return { lanes: LANES, startBytes: index * PART_BYTES };
}

async function untilEnough(threads: readonly { readonly done: number }[]): Promise<void> {
  await eventually('every thread has done requests', () =>
    threads.every(({ done }) => done >= ENOUGH),
  );
}

/** A device with queues 0 to 2; num-queues is for those that cannot add any. */
function startedDevice(disk: PlacedDisk): Promise<Blkio> {
  return disk.started({}, { 'num-queues': 3 });
}

function refusesAgain(handle: QueueHandle): void {
  assert.throws(() => adoptQueue(handle), { code: 'EBUSY' });
}

/** See the module's comment. */
export function threadSuite(place: BlkioPlace): void {
  const { skip } = place;
  const isSocket = place.driver === 'virtio-blk-vhost-user';
  suite(`queues in several threads, ${place.name}`, { skip }, () => {
    test('data of all is what it should be, whoever asks for completions', async () => {
      await using disk = await place.start({ sizeBytes: 4 * PART_BYTES });
      const device = await startedDevice(disk);
      using region = MemoryRegion.allocate(REGION_BYTES);
      await device.mapRegion(region);
      const blocking = new QueueThread(device.shareQueue(0), { ...partOf(2), region });
      const promises = new QueueThread(device.shareQueue(1), { ...partOf(3), mode: 'promises' });
      const own = new ClientLoad([device.asyncQueue(2)], 2 * PART_BYTES, LANES);
      await untilEnough([blocking, promises, own]);
      const model = await own.stop();
      for (const [index, thread] of [blocking, promises].entries()) {
        const outcome = await thread.stop();
        assert.deepEqual(outcome.failures, []);
        const start = (2 + index) * PART_BYTES;
        assertSameBytes(disk.readImage(start, PART_BYTES), outcome.model, `part ${2 + index}`);
      }
      assertSameBytes(disk.readImage(0, 2 * PART_BYTES), model, 'own part');
      await device.unmapRegion(region);
    });

    test('buffers in a mapped region are not copied, wherever they are used', async () => {
      await using disk = await place.start({ sizeBytes: 2 * PART_BYTES });
      const device = await startedDevice(disk);
      using region = MemoryRegion.allocate(REGION_BYTES);
      using other = MemoryRegion.allocate(REGION_BYTES);
      await device.mapRegion(region);
      const threads = [
        new QueueThread(device.shareQueue(0), { ...partOf(0), region }),
        new QueueThread(device.shareQueue(1), { ...partOf(1), region: other }),
      ];
      await untilEnough(threads);
      const [mapped, unmapped] = await Promise.all(threads.map((thread) => thread.stop()));
      assert.equal(mapped.bounced, 0);
      assert.equal(unmapped.bounced, isSocket ? unmapped.done : 0);
    });

    test('a region that is mapped later is reached from then on', async () => {
      await using disk = await place.start({ sizeBytes: PART_BYTES });
      const device = await startedDevice(disk);
      using region = MemoryRegion.allocate(REGION_BYTES);
      const thread = new QueueThread(device.shareQueue(0), { ...partOf(0), region });
      await untilEnough([thread]);
      await device.mapRegion(region);
      const before = thread.done;
      await eventually('more is done', () => thread.done > before + ENOUGH);
      const { done, bounced } = await thread.stop();
      if (isSocket) assert.ok(bounced > 0 && bounced < done, `${bounced} of ${done} copied`);
      else assert.equal(bounced, 0);
    });

    test('a queue belongs to one thread', async () => {
      await using disk = await place.start();
      const device = await startedDevice(disk);
      device.queue(0);
      assert.throws(() => device.shareQueue(0), { code: 'EBUSY' });
      assert.throws(() => device.shareQueue(3), { code: 'ENOENT' });
      assert.throws(() => device.sharePollQueue(0), { code: 'ENOENT' });
      const handle = device.shareQueue(1);
      assert.throws(() => device.queue(1), { code: 'EBUSY' });
      assert.throws(() => device.asyncQueue(1), { code: 'EBUSY' });
      assert.throws(() => device.shareQueue(1), { code: 'EBUSY' });
      const queue = adoptQueue(structuredClone(handle));
      refusesAgain(handle);
      queue.close();
      refusesAgain(handle);
    });

    test('not before the device is started', async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      assert.throws(() => device.shareQueue(0), { code: 'ENODEV' });
    });

    test('a handle that nobody took is worth nothing once the device is closed', async () => {
      await using disk = await place.start();
      const before = await steadyDescriptors();
      const device = await startedDevice(disk);
      const handles = [0, 1, 2].map((index) => device.shareQueue(index));
      device.close();
      await untilDescriptors(before);
      for (const handle of handles) refusesAgain(handle);
    });

    test('all descriptors are closed, whichever thread is the last', async () => {
      await using disk = await place.start({ sizeBytes: 2 * PART_BYTES });
      const before = await steadyDescriptors();
      const device = await startedDevice(disk);
      const threads = [
        new QueueThread(device.shareQueue(0), partOf(0)),
        new QueueThread(device.shareQueue(1), { ...partOf(1), mode: 'promises' }),
      ];
      await untilEnough(threads);
      await threads[0].stop();
      device.close();
      // Its lanes end by themselves when there is nobody to ask.
      const { failures } = await (isSocket ? threads[1].outcome : threads[1].stop());
      const expected = isSocket ? ['ENOTCONN'] : [];
      assert.deepEqual([...new Set(failures)], expected, 'a back-end is out of reach then');
      await untilDescriptors(before);
    });
  });
}
