/** Queues that come and go while the device is started. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { Blkio, CompletionList } from '../../src/blkio/index.ts';
import { imageFolder } from '../support/image-folder.ts';
import { ServedDisk } from '../support/served-disk.ts';

async function onFile(t: TestContext): Promise<Blkio> {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(65536, 'x'));
  const device = new Blkio('io_uring');
  t.after(() => device.close());
  device.set('path', path);
  await device.connect();
  return device;
}

suite('adding and removing queues', () => {
  test('a device can start without queues, and get some', async (t) => {
    const device = await onFile(t);
    device.set('num-queues', 0);
    await device.start();
    assert.throws(() => device.queue(0), { code: 'ENOENT' });
    assert.deepEqual([device.addQueue(), device.addQueue(), device.addQueue()], [0, 1, 2]);
    for (const index of [0, 1, 2]) {
      const queue = device.queue(index);
      const buffer = Buffer.alloc(4096);
      queue.read(0, buffer);
      assert.equal(queue.doIo(new CompletionList(1), 1), 1);
      assert.equal(buffer.toString(), 'x'.repeat(4096));
    }
  });

  test('the number of a removed queue is given anew', async (t) => {
    const device = await onFile(t);
    device.set('num-queues', 3);
    await device.start();
    device.queue(1);
    device.removeQueue(1);
    assert.throws(() => device.queue(1), { code: 'ENOENT' });
    assert.throws(() => device.removeQueue(1), { code: 'ENOENT' });
    assert.equal(device.addQueue(), 1);
    assert.equal(device.addQueue(), 3);
    device.queue(1);
  });

  test('a queue with requests outstanding stays', async (t) => {
    const device = await onFile(t);
    await device.start();
    const queue = device.queue(0);
    queue.read(0, Buffer.alloc(4096));
    assert.throws(() => device.removeQueue(0), { code: 'EBUSY' });
    queue.doIo(new CompletionList(1), 1);
    device.removeQueue(0);
  });

  test('not before the device is started, and no poll queues for files', async (t) => {
    const device = await onFile(t);
    assert.throws(() => device.addQueue(), { code: 'EBUSY' });
    await device.start();
    assert.throws(() => device.addPollQueue(), { code: 'ENOTSUP' });
    assert.throws(() => device.removePollQueue(0), { code: 'ENOTSUP' });
  });

  test('a back-end has the queues it was started with', async () => {
    await using disk = await ServedDisk.start();
    using device = new Blkio('virtio-blk-vhost-user');
    device.set('path', disk.socketPath);
    await device.connect();
    await device.start();
    assert.throws(() => device.addQueue(), { code: 'ENOTSUP' });
    assert.throws(() => device.removeQueue(0), { code: 'ENOTSUP' });
  });
});
