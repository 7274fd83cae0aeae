/** The image is deleted, renamed, replaced or truncated while it is served. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { BlockDriver } from '../../src/testing/index.ts';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const IMAGE_BYTES = 1024 * 1024;
const DATA_BYTES = 8192;

/** Write, flush and read: all is well. */
async function use(driver: BlockDriver, seed: number): Promise<void> {
  const data = patternBytes(DATA_BYTES, seed);
  await driver.write(0, data);
  assert.equal((await driver.request({ type: RequestType.FLUSH })).status, Status.OK);
  assertSameBytes(await driver.read(0, DATA_BYTES / 512), data, 'read');
}

async function lookAgain(disk: ServedDisk, expected: RegExp): Promise<void> {
  process.kill(disk.server.pid, 'SIGHUP');
  await disk.server.logged(expected);
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`an image's fate, ${engine}`, () => {
    test('deleted: what is open is served, to the next client, too', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, sizeBytes: IMAGE_BYTES });
      const driver = await disk.connect();
      await use(driver, 1);
      rmSync(disk.imagePath);
      await use(driver, 2);
      await lookAgain(disk, /warn .*SIGHUP: .* has been deleted or renamed: .* is lost when/);
      driver.close();
      const next = await disk.connect();
      const found = await next.read(0, DATA_BYTES / 512);
      assertSameBytes(found, patternBytes(DATA_BYTES, 2), 'the next client reads');
      await use(next, 3);
      next.close();
      const { code, stderr } = await disk.server.stop();
      assert.equal(code, 0, stderr);
    });

    test('renamed: data goes where the image is', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, sizeBytes: IMAGE_BYTES });
      const driver = await disk.connect();
      const moved = join(disk.folder, 'moved');
      renameSync(disk.imagePath, moved);
      await use(driver, 1);
      await lookAgain(disk, /warn .*SIGHUP: .* has been deleted or renamed: the one .* served$/m);
      const found = readFileSync(moved).subarray(0, DATA_BYTES);
      assertSameBytes(found, patternBytes(DATA_BYTES, 1), 'the renamed image');
      renameSync(moved, disk.imagePath);
      const { stderr } = disk.server;
      process.kill(disk.server.pid, 'SIGHUP');
      await disk.server.logged(/(?:SIGHUP: the disk has[\s\S]*){2}/);
      await use(driver, 2);
      const warnings = disk.server.stderr.slice(stderr.length).match(/warn /g);
      assert.equal(warnings, null, 'all is as it was');
    });

    test('replaced: the new file is left alone', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, sizeBytes: IMAGE_BYTES });
      const driver = await disk.connect();
      await use(driver, 1);
      const other = Buffer.alloc(2 * IMAGE_BYTES, 'o');
      writeFileSync(join(disk.folder, 'other'), other);
      renameSync(join(disk.folder, 'other'), disk.imagePath);
      await use(driver, 2);
      await lookAgain(disk, /warn .*SIGHUP: .* is another file by now/);
      await disk.server.logged(new RegExp(`SIGHUP: the disk has ${IMAGE_BYTES} bytes`));
      await use(driver, 3);
      assert.ok(readFileSync(disk.imagePath).equals(other));
    });

    for (const cache of ['writeback', 'none']) {
      test(`truncated, cache=${cache}: what is lost is an error, not zeros`, { skip }, async () => {
        const content = patternBytes(IMAGE_BYTES);
        await using disk = await ServedDisk.start({ engine, content, args: [`--cache=${cache}`] });
        const driver = await disk.connect();
        truncateSync(disk.imagePath, IMAGE_BYTES / 2);
        const read = async (sector: number): Promise<number> =>
          (await driver.request({ type: RequestType.IN, sector, room: DATA_BYTES })).status;
        const end = IMAGE_BYTES / 2 / 512;
        assert.equal(await read(end), Status.IOERR);
        assert.equal(await read(IMAGE_BYTES / 512 - DATA_BYTES / 512), Status.IOERR);
        assert.equal(await read(end - 8), Status.IOERR, 'half of it is there');
        assert.equal(await read(end - DATA_BYTES / 512), Status.OK);
        await use(driver, 1);
        driver.close();
        await disk.server.logged(/client 1 disconnected: .*diskErrors 3/);
      });
    }
  });
}
