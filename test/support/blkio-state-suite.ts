/** States of a device: what is possible in which, and what the others answer. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Blkio } from '../../src/blkio/index.ts';
import { BACKEND_QUEUES, type BlkioPlace } from './blkio-place.ts';
import { doAll, withCode } from './blkio-queue-results.ts';

/** See the module's comment. */
export function stateSuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  suite(`states, ${name}`, () => {
    test('a device goes from created to connected to started', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device();
      assert.equal(device.state, 'created');
      await device.connect();
      assert.equal(device.state, 'connected');
      await device.start();
      assert.equal(device.state, 'started');
    });

    test('connecting and starting again changes nothing', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      await device.connect();
      assert.equal(device.state, 'connected');
      await device.start();
      await device.start();
      doAll(device.queue(0), (queue) => queue.flush());
    });

    test('calls at the same time are one', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device();
      await Promise.all([device.connect(), device.connect()]);
      await Promise.all([device.start(), device.start(), device.start()]);
      doAll(device.queue(0), (queue) => queue.flush());
    });

    test('starting waits for connecting', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device();
      const connecting = device.connect();
      await device.start();
      await connecting;
      assert.equal(device.state, 'started');
    });

    test('connecting a started device: EBUSY', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      await assert.rejects(device.connect(), withCode('EBUSY'));
      assert.equal(device.state, 'started');
    });

    test('starting a device that is not connected: ENODEV', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device();
      await assert.rejects(device.start(), withCode('ENODEV'));
      assert.equal(device.state, 'created');
    });

    test('no queues before the device is started: ENODEV', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device();
      assert.throws(() => device.queue(0), withCode('ENODEV'));
      await device.connect();
      assert.throws(() => device.queue(0), withCode('ENODEV'));
      assert.throws(() => device.pollQueue(0), withCode('ENODEV'));
      assert.throws(() => device.asyncQueue(0), withCode('ENODEV'));
    });

    test('connecting to nothing: ENOENT, and the device can be told better', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device({ path: `${disk.path}-missing` });
      await assert.rejects(device.connect(), withCode('ENOENT'));
      assert.equal(device.state, 'created');
      device.set('path', disk.path);
      await device.connect();
      assert.equal(device.state, 'connected');
    });

    test('connecting without a path: EINVAL', { skip }, async () => {
      const device = new Blkio(driver);
      await assert.rejects(device.connect(), withCode('EINVAL'));
      device.close();
    });

    test('a closed device can be used no more: ENODEV', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      device.close();
      device.close();
      assert.throws(() => device.queue(0), withCode('ENODEV'));
      assert.throws(() => device.asyncQueue(0), withCode('ENODEV'));
      await assert.rejects(device.connect(), withCode('ENODEV'));
      await assert.rejects(device.start(), withCode('ENODEV'));
    });

    test('a device can be closed in every state', { skip }, async () => {
      await using disk = await place.start();
      new Blkio(driver).close();
      disk.device().close();
      (await disk.connected()).close();
      (await disk.started()).close();
      // What it held is free for the next one.
      doAll((await disk.started()).queue(0), (queue) => queue.flush());
    });

    test('a queue is there once, under its number', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 2 });
      device.queue(1);
      assert.throws(() => device.queue(1), withCode('EBUSY'));
      assert.throws(() => device.asyncQueue(1), withCode('EBUSY'));
      for (const index of [2, -1, 0.5, Number.NaN]) {
        assert.throws(() => device.queue(index), withCode('ENOENT'));
      }
      assert.throws(() => device.pollQueue(0), withCode('ENOENT'));
      device.queue(0);
    });
  });

  if (driver === 'virtio-blk-vhost-user') backendStateSuite(place);
}

/** What depends on limits that a back-end has and a file has not. */
function backendStateSuite(place: BlkioPlace): void {
  const { name, skip } = place;
  suite(`states of a back-end's device, ${name}`, () => {
    test('a read-only device that is to be written: EROFS', { skip }, async () => {
      await using disk = await place.start({ readOnly: true });
      const device = await disk.connected();
      await assert.rejects(device.start(), withCode('EROFS'));
      assert.equal(device.state, 'connected');
    });

    test('no queues at all: EINVAL, and more make it start', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      device.set('num-queues', 0);
      await assert.rejects(device.start(), withCode('EINVAL'));
      device.set('num-queues', BACKEND_QUEUES);
      await device.start();
      doAll(device.queue(BACKEND_QUEUES - 1), (queue) => queue.flush());
    });

    test('more queues of both kinds than there are: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      device.set('num-queues', BACKEND_QUEUES);
      device.set('num-poll-queues', 1);
      await assert.rejects(device.start(), withCode('EINVAL'));
      device.set('num-queues', BACKEND_QUEUES - 1);
      await device.start();
    });
  });
}
