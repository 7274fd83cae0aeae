/** An image of another format that is served raw: the log warns once, and the guest sees its bytes. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { serve } from '../../src/exports/index.ts';
import { file, qcow2 } from '../../src/storage/index.ts';
import { createQcow2 } from '../../src/storage/tools.ts';
import { imageFolder } from '../support/image-folder.ts';
import { RecordingLogger } from '../support/recording-logger.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { ServedDisk } from '../support/served-disk.ts';

const WARNING = /warn {2}.* begins like a qcow2 image, and is served as it is, raw: .*\n/g;

test('of --blk-file and of --disk, with and without a process for each client', async (t) => {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: 2 ** 20 });
  const image = new Uint8Array(readFileSync(path));
  for (const args of [
    [`--blk-file=${path}`],
    [`--blk-file=${path}`, '--isolate'],
    [`--disk=stats(file(${path}))`],
  ]) {
    await using disk = await ServedDisk.start({ args });
    for (let client = 0; client < 2; client++) {
      const driver = await disk.connect();
      assert.deepEqual(await driver.read(0, 128), image.subarray(0, 65536));
      await driver.write(100, image.subarray(51_200, 51_712));
      driver.close();
    }
    const { code, stderr } = await disk.server.stop();
    assert.equal(code, 0, stderr);
    assert.equal(stderr.match(WARNING)?.length, 1, `${args.join(' ')}: ${stderr}`);
  }
  await using disk = await ServedDisk.start({ args: [`--disk=qcow2(file(${path}))`] });
  const { stderr } = await disk.server.stop();
  assert.doesNotMatch(stderr, /begins like/);
});

test('a plain image, and one that the guest has made into another format, are served', async () => {
  await using disk = await ServedDisk.start({ content: patternBytes(2 ** 20) });
  const driver = await disk.connect();
  const sector = new Uint8Array(512);
  sector.set(Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'));
  await driver.write(0, sector);
  driver.close();
  assert.doesNotMatch(disk.server.stderr, /begins like/);
  await disk.server.stop();
  await using again = await ServedDisk.start({ args: [`--blk-file=${disk.imagePath}`] });
  assert.deepEqual(await (await again.connect()).read(0, 1), sector);
  assert.match(again.server.stderr, WARNING);
});

test('serve() tells its logger', async (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'image.qcow2');
  await createQcow2(path, { sizeBytes: 2 ** 20 });
  writeFileSync(`${path}.raw`, new Uint8Array(2 ** 20));
  const cases = [
    [file(path), 1],
    [qcow2(file(path)), 0],
    [file(`${path}.raw`), 0],
  ] as const;
  for (const [disk, count] of cases) {
    const logger = new RecordingLogger();
    await using _server = await serve({ socketPath: join(folder, 'socket'), disk, logger });
    assert.equal(logger.warnings.length, count, logger.warnings.join('\n'));
  }
});
