/**
 * A disk whose file system is full, and has room again: the guest sees errors meanwhile, loses
 * nothing, and goes on as before over the same connection.
 */
import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import type { BlockDriver } from '../../src/testing/index.ts';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { cannotLoop, cannotMount, ext4On, smallTmpfs } from '../support/host-file-systems.ts';
import { imageFolder } from '../support/image-folder.ts';
import { assertSameBytes, patternBytes, rangesPayload } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 16 * MIB;
const CHUNK_BYTES = 64 * 1024;
const CHUNK_SECTORS = CHUNK_BYTES / 512;
const noMount = cannotMount();

/** Where the image lies, with little room. */
const PLACES: Readonly<Record<string, (t: TestContext) => string>> = {
  tmpfs: (t) => smallTmpfs(t, 3 * MIB),
  ext4: (t) => {
    const backing = join(imageFolder(t), 'backing');
    writeFileSync(backing, Buffer.alloc(8 * MIB));
    return ext4On(t, backing);
  },
};

/** What a driver does with chunks. */
class Chunks {
  readonly #driver: BlockDriver;

  constructor(driver: BlockDriver) {
    this.#driver = driver;
  }

  async write(chunk: number): Promise<number> {
    const data = patternBytes(CHUNK_BYTES, chunk);
    const request = { type: RequestType.OUT, sector: chunk * CHUNK_SECTORS, data };
    return (await this.#driver.request(request)).status;
  }

  /** WRITE_ZEROES that keeps the space, or DISCARD. */
  async range(type: number, chunk: number): Promise<number> {
    const data = rangesPayload({ sector: chunk * CHUNK_SECTORS, sectors: CHUNK_SECTORS });
    return (await this.#driver.request({ type, data })).status;
  }

  async flush(): Promise<number> {
    return (await this.#driver.request({ type: RequestType.FLUSH })).status;
  }

  /** Write one after the other until there is no room; how many there was room for. */
  async fillFrom(first: number): Promise<number> {
    for (let chunk = first; ; chunk++) {
      const status = await this.write(chunk);
      if (status === Status.OK) continue;
      assert.equal(status, Status.IOERR);
      return chunk;
    }
  }

  /** Of those from `first` to before `end`, all hold what was written. */
  async check(first: number, end: number): Promise<void> {
    for (let chunk = first; chunk < end; chunk++) {
      const found = await this.#driver.read(chunk * CHUNK_SECTORS, CHUNK_SECTORS);
      assertSameBytes(found, patternBytes(CHUNK_BYTES, chunk), `chunk ${chunk}`);
    }
  }
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`a full disk, ${engine}`, () => {
    for (const [place, makeFolder] of Object.entries(PLACES)) {
      for (const cache of ['writeback', 'writethrough', 'none']) {
        const missing = skip || noMount || (place === 'ext4' && cannotLoop());
        test(`${place}, cache=${cache}: errors until there is room, and nothing lost`, {
          skip: missing,
        }, async (t) => {
          const folder = makeFolder(t);
          const imagePath = join(folder, 'image');
          writeFileSync(imagePath, '');
          truncateSync(imagePath, DISK_BYTES);
          const ballast = join(folder, 'ballast');
          writeFileSync(ballast, new Uint8Array(MIB));
          const args = [`--blk-file=${imagePath}`, `--cache=${cache}`];
          await using disk = await ServedDisk.start({ engine, args });
          const driver = await disk.connect();
          const chunks = new Chunks(driver);
          const full = await chunks.fillFrom(0);
          assert.ok(full > 4, 'there was some room');
          assert.equal(await chunks.write(full), Status.IOERR);
          // Far from what was written, so that there is no space for it.
          assert.equal(await chunks.range(RequestType.WRITE_ZEROES, 200), Status.IOERR);
          assert.equal(await chunks.flush(), Status.OK);
          await chunks.check(0, full);

          rmSync(ballast);
          assert.equal(await chunks.range(RequestType.WRITE_ZEROES, 200), Status.OK);
          assert.equal(await chunks.write(full), Status.OK);
          assert.equal(await chunks.flush(), Status.OK);

          // The guest makes room by itself.
          const again = await chunks.fillFrom(full + 1);
          assert.equal(await chunks.range(RequestType.DISCARD, 0), Status.OK);
          assert.equal(await chunks.range(RequestType.DISCARD, 1), Status.OK);
          assert.equal(await chunks.flush(), Status.OK);
          assert.equal(await chunks.write(again), Status.OK);
          assert.equal(await chunks.flush(), Status.OK);
          await chunks.check(2, again + 1);
          driver.close();
          await disk.server.logged(/client 1 disconnected: .*diskErrors 4/);
          const { code, stderr } = await disk.server.stop();
          assert.equal(code, 0, stderr);
        });
      }
    }
  });
}
