/** A disk whose file system is full: the guest sees errors, the server counts them and goes on. */
import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { cannotMount, smallTmpfs } from '../support/host-file-systems.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const noMount = cannotMount();

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`a full disk, ${engine}`, () => {
    test('writes fail until there is room, all else goes on', {
      skip: noMount || skip,
    }, async (t) => {
      const folder = smallTmpfs(t, 3 * MIB);
      const imagePath = join(folder, 'image');
      writeFileSync(imagePath, '');
      truncateSync(imagePath, 16 * MIB);
      const ballast = join(folder, 'ballast');
      writeFileSync(ballast, new Uint8Array(2 * MIB));
      await using disk = await ServedDisk.start({ engine, args: [`--blk-file=${imagePath}`] });
      const driver = await disk.connect();
      const write = async (chunk: number): Promise<number> => {
        const data = patternBytes(CHUNK_BYTES, chunk);
        const sector = (chunk * CHUNK_BYTES) / 512;
        return (await driver.request({ type: RequestType.OUT, sector, data })).status;
      };
      let written = 0;
      while ((await write(written)) === Status.OK) written += 1;
      assert.ok(written > 4, 'there was some room');
      assert.equal(await write(written), Status.IOERR);
      assert.equal((await driver.request({ type: RequestType.FLUSH })).status, Status.OK);
      for (let chunk = 0; chunk < written; chunk++) {
        const found = await driver.read((chunk * CHUNK_BYTES) / 512, CHUNK_BYTES / 512);
        assertSameBytes(found, patternBytes(CHUNK_BYTES, chunk), `chunk ${chunk}`);
      }
      rmSync(ballast);
      assert.equal(await write(written), Status.OK);
      driver.close();
      await disk.server.logged(/client 1 disconnected: .*diskErrors 2/);
      const { code, stderr } = await disk.server.stop();
      assert.equal(code, 0, stderr);
    });
  });
}
