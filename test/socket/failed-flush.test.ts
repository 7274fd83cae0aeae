/**
 * What the cache of the kernel has taken cannot be written back: the flush fails, and no later one
 * says that all is well, though the kernel says so.
 */
import assert from 'node:assert/strict';
import { fdatasyncSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { BlockDriver } from '../../src/testing/index.ts';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { cannotLoop, cannotMount, loopDevice, smallTmpfs } from '../support/host-file-systems.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;
const DEVICE_BYTES = 8 * MIB;
const CHUNK_BYTES = 64 * 1024;
const noLoop = cannotMount() || cannotLoop();

async function flush(driver: BlockDriver, queue = 0): Promise<number> {
  return (await driver.request({ type: RequestType.FLUSH }, queue)).status;
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`a flush that fails, ${engine}`, () => {
    test('all later ones do, of all queues and clients, until the program starts again', {
      skip: skip || noLoop,
    }, async (t) => {
      // The device promises 8 MiB; what it is made of has room for two.
      const folder = smallTmpfs(t, 3 * MIB);
      const backing = join(folder, 'backing');
      writeFileSync(backing, '');
      truncateSync(backing, DEVICE_BYTES);
      const ballast = join(folder, 'ballast');
      writeFileSync(ballast, Buffer.alloc(MIB));
      const device = loopDevice(t, backing);
      const args = [`--blk-file=${device}`, '--num-queues=2', '--threads=2'];
      await using disk = await ServedDisk.start({ engine, args });
      const driver = await disk.connect({ numQueues: 2 });
      assert.equal(await flush(driver), Status.OK);
      for (let offset = 0; offset < 6 * MIB; offset += CHUNK_BYTES) {
        await driver.write(offset / 512, patternBytes(CHUNK_BYTES));
      }
      assert.equal(await flush(driver), Status.IOERR);
      await disk.server.logged(/error .*: a flush failed \((?:EIO|ENOSPC), .*all flushes fail/);
      rmSync(ballast);
      // Who opens the device now is told that all is well.
      const fd = openSync(device, 'r');
      fdatasyncSync(fd);
      assert.equal(await flush(driver), Status.IOERR);
      assert.equal(await flush(driver, 1), Status.IOERR, 'in another thread');
      // The rest is served.
      await driver.write(0, patternBytes(CHUNK_BYTES, 2));
      await driver.read(0, 8);
      driver.close();
      const next = await disk.connect();
      assert.equal(await flush(next), Status.IOERR, 'for another client');
      next.close();
      await disk.server.stop();
      await using again = await ServedDisk.start({ engine, args });
      const later = await again.connect();
      assert.equal(await flush(later), Status.OK);
    });
  });
}
