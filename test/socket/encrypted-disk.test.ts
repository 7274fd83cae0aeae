/** An encrypted disk as the program serves it: in queue threads, confined, with a passphrase file. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { encrypt, file, openAccess, openDisk } from '../../src/storage/index.ts';
import { SECTOR_BYTES } from '../../src/virtio-blk/index.ts';
import { bytesOf, luksImage, PASSPHRASE } from '../support/luks-image.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';
import { runServerProgram } from '../support/server-program.ts';

const DATA_BYTES = 2 ** 17;
const QUEUES = 4;
const ROUNDS = 8;
const BLOCKS = DATA_BYTES / 4096;

for (const { engine, skip } of SERVER_ENGINES) {
  test(`${engine}: queues on two threads write parts of the same blocks`, { skip }, async (t) => {
    const { path, dataOffset } = await luksImage(t, DATA_BYTES, { sectorBytes: 4096 });
    writeFileSync(`${path}.key`, PASSPHRASE);
    const model = patternBytes(DATA_BYTES, 1).slice();
    {
      await using served = await ServedDisk.start({
        engine,
        args: [
          `--disk=encrypt(file(${path}), passphrase-file=${path}.key)`,
          ...[`--num-queues=${QUEUES}`, '--threads=2', '--sandbox=auto'],
        ],
      });
      const driver = await served.connect({ numQueues: QUEUES, queueSize: 64 });
      await driver.write(0, model, 0);
      // Each queue has its own sectors of every block; all of them are under way at once.
      const lane = async (queue: number, part: number): Promise<void> => {
        for (let round = 0; round < ROUNDS; round++) {
          for (let block = part; block < BLOCKS; block += 8) {
            const sector = block * 8 + queue * 2;
            const data = patternBytes(2 * SECTOR_BYTES, sector + round);
            await driver.write(sector, data, queue);
            model.set(data, sector * SECTOR_BYTES);
            assertSameBytes(await driver.read(sector, 2, queue), data, `sector ${sector}`);
          }
        }
      };
      const lanes = Array.from({ length: QUEUES * 8 }, (_, index) =>
        lane(index % QUEUES, Math.floor(index / QUEUES)),
      );
      await Promise.all(lanes);
      assertSameBytes(await driver.read(0, DATA_BYTES / SECTOR_BYTES), model, 'as served');
    }
    const disk = await openDisk(encrypt(file(path), { passphrase: PASSPHRASE }));
    const access = openAccess(disk);
    const found = Buffer.alloc(DATA_BYTES);
    await access.read(found, 0);
    access.close();
    await disk.close();
    assertSameBytes(found, model, 'opened again');
    const raw = bytesOf(path, dataOffset, DATA_BYTES);
    assert.ok(!raw.subarray(0, 4096).equals(Buffer.from(model.subarray(0, 4096))));
  });
}

test('a wrong passphrase: one line, exit code 1, an untouched container', async (t) => {
  const { path } = await luksImage(t, DATA_BYTES);
  writeFileSync(`${path}.key`, 'not that');
  const before = readFileSync(path);
  const args = [`--disk=encrypt(file(${path}), passphrase-file=${path}.key)`];
  const run = await runServerProgram([...args, `--socket-path=${path}.sock`]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /^vhost-user-blk: .*the passphrase is not that of any key slot\n$/);
  assert.ok(readFileSync(path).equals(before));
});
