/** The guide to disks of one's own, step by step, and what the README has of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiskOperation, file, moduleDisk, openDisk, readonly } from '../../src/storage/index.ts';
import { ChannelSession } from '../support/channel-session.ts';
import { startedDevice } from '../support/client-device.ts';
import { buildAsUser, documentedCode, documentedFiles } from '../support/documented-code.ts';
import { imageFolder } from '../support/image-folder.ts';
import { untilListening } from '../support/listening-program.ts';
import { readBytes, withProgramDisk } from '../support/program-disk.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { readSource } from '../support/source-tree.ts';

const KIB = 1024;

test('the TypeScript of the README has no errors', (t) => {
  const blocks = documentedCode(readSource('README.md').text);
  assert.ok(blocks.length > 2);
  const files = blocks.map(({ code }, index) => [`block-${index}.ts`, code] as const);
  buildAsUser(imageFolder(t), new Map(files));
});

test('the disks of the guide work as it says', async (t) => {
  const folder = imageFolder(t);
  buildAsUser(folder, documentedFiles('docs/guides/write-a-disk.md'));
  const data = patternBytes(64 * KIB);
  await withProgramDisk(folder, `${folder}/my-disk.js,mib=16`, async (queue) => {
    await queue.write(0, data);
    assert.deepEqual(await readBytes(queue, 0, data.length), data);
    assert.ok((await readBytes(queue, 15 * KIB * KIB, 4 * KIB)).every((byte) => byte === 0));
  });
  const image = join(folder, 'system.img');
  writeFileSync(image, data);
  await withProgramDisk(
    folder,
    `${folder}/keep-nothing.js(readonly(file(${image})))`,
    async (queue) => {
      await queue.write(4 * KIB, new Uint8Array(KIB).fill(1));
      const seen = data.slice();
      seen.fill(1, 4 * KIB, 5 * KIB);
      assert.deepEqual(await readBytes(queue, 0, data.length), seen);
    },
  );
  assert.deepEqual(new Uint8Array(readFileSync(image)), data, 'the image is as it was');
});

test('the disk over an image is over one with larger blocks, too', async (t) => {
  const folder = imageFolder(t);
  buildAsUser(folder, documentedFiles('docs/guides/write-a-disk.md'));
  const image = join(folder, 'system.img');
  const data = patternBytes(64 * KIB);
  writeFileSync(image, data);
  const plan = moduleDisk(join(folder, 'keep-nothing.js'), {}, [readonly(file(image))]);
  const disk = await openDisk(plan, { blockBytes: 4 * KIB });
  assert.equal(disk.info.logicalBlockBytes, 4 * KIB);
  {
    using session = new ChannelSession(disk);
    // Single sectors, as firmware asks for them.
    const run = (operation: number, sector: number, at: number): Promise<number> =>
      session.run({ operation, offset: sector * 512, pieces: [{ at, bytes: 512 }] });
    session.memory.fill(9, 0, 512);
    assert.equal(await run(DiskOperation.WRITE, 3, 0), 0);
    for (const sector of [2, 3]) {
      assert.equal(await run(DiskOperation.READ, sector, sector * 512), 0);
    }
    const found = new Uint8Array(session.memory.subarray(2 * 512, 4 * 512));
    const expected = data.slice(2 * 512, 4 * 512);
    expected.fill(9, 512);
    assert.deepEqual(found, expected);
  }
  await disk.close();
});

test('the program of the guide serves, and ends', async (t) => {
  const folder = imageFolder(t);
  buildAsUser(folder, documentedFiles('docs/guides/write-a-disk.md'));
  const program = spawn(process.execPath, ['serve.js'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  program.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(program, 'exit');
  const socketPath = join(folder, 'disk.sock');
  await untilListening(socketPath);
  const { device, queue } = await startedDevice(socketPath);
  await queue.write(0, new Uint8Array(4 * KIB));
  await readBytes(queue, 0, 4 * KIB);
  device[Symbol.dispose]();
  program.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.match(said, /1 reads 1 writes/);
});
