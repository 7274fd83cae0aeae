/** Disks that are opened and served by a worker of their own. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AsyncQueue } from '../../src/blkio/index.ts';
import { type ServedDisk, StorageError, serve } from '../../src/index.ts';
import type { Logger } from '../../src/sys/index.ts';
import { bounded, nextEvent, startedDevice } from '../support/client-device.ts';
import { imageFolder } from '../support/image-folder.ts';

const MODULE = fileURLToPath(new URL('../support/worker-disk-module.js', import.meta.url));
const SECTORS = 64;
const BYTES = SECTORS * 512;

interface Started {
  readonly disk: ServedDisk;
  readonly socketPath: string;
  readonly lines: string[];
}

function collector(lines: string[]): Logger {
  const say = (line: string): void => void lines.push(line);
  return { debug() {}, info: say, warn: say, error: say };
}

async function start(t: TestContext, parameters = ''): Promise<Started> {
  const lines: string[] = [];
  const socketPath = join(imageFolder(t), 'socket');
  const worker = `${MODULE},sectors=${SECTORS}${parameters}`;
  const disk = await serve({ socketPath, worker, logger: collector(lines), numQueues: 2 });
  return { disk, socketPath, lines };
}

/** Have the disk do something: see its module. */
function order(queue: AsyncQueue, letter: string): Promise<unknown> {
  const sector = new Uint8Array(512).fill(letter.charCodeAt(0));
  return queue.write(BYTES - 512, sector);
}

test('a module is served by a thread of its own', async (t) => {
  const { disk, socketPath } = await start(t);
  assert.match(disk.disk.description, /^a disk in thread [1-9]/);
  assert.equal(disk.disk.info.sizeBytes, BYTES);
  const { device, queue } = await startedDevice(socketPath);
  const data = new Uint8Array(4096).map((_, at) => at * 7);
  await queue.write(8192, data);
  const read = new Uint8Array(4096);
  await queue.read(8192, read);
  assert.deepEqual(read, data);
  device[Symbol.dispose]();
  await bounded(disk.close());
  await bounded(disk.ended);
});

test('its errors reach the guest, and the log once', async (t) => {
  const { disk, socketPath, lines } = await start(t);
  const { device, queue } = await startedDevice(socketPath);
  await assert.rejects(order(queue, 'e'));
  await assert.rejects(order(queue, 'e'));
  await queue.flush();
  device[Symbol.dispose]();
  await bounded(disk.close());
  const said = lines.filter((line) => line.includes('no room in here'));
  assert.equal(said.length, 1, said.join('\n'));
  assert.match(said[0], /write of 512 bytes at offset 32256 failed: Error: no room in here\n +at /);
});

test('its new size reaches the guest', async (t) => {
  const { disk, socketPath } = await start(t);
  const { device, queue } = await startedDevice(socketPath);
  const told = nextEvent(device, 'config-change');
  await order(queue, 'g');
  await told;
  assert.equal(device.capacityBytes, 2 * BYTES);
  await queue.write(2 * BYTES - 512, new Uint8Array(512));
  device[Symbol.dispose]();
  await bounded(disk.close());
});

test('one that keeps its thread busy keeps nobody else waiting', async (t) => {
  const gate = join(imageFolder(t), 'gate');
  const [slow, quick] = [await start(t, `,gate=${gate}`), await start(t)];
  const first = await startedDevice(slow.socketPath);
  const second = await startedDevice(quick.socketPath);
  let isSlowDone = false;
  const busy = order(first.queue, 's').then(() => {
    isSlowDone = true;
  });
  await second.queue.read(0, new Uint8Array(512));
  await second.queue.write(0, new Uint8Array(512));
  assert.ok(!isSlowDone, 'the other disk was waited for');
  writeFileSync(gate, '');
  await busy;
  first.device[Symbol.dispose]();
  second.device[Symbol.dispose]();
  await bounded(Promise.all([slow.disk.close(), quick.disk.close()]));
});

test('an error outside of its methods ends its server, and is told', async (t) => {
  const { disk, socketPath } = await start(t);
  const { device, queue } = await startedDevice(socketPath);
  const ended = assert.rejects(bounded(disk.ended), /the disk has died/);
  // Its answer may be lost with the worker.
  const ordered = order(queue, 'd').catch(() => {});
  await ended;
  device[Symbol.dispose]();
  await ordered;
  await bounded(disk.close());
});

const REFUSALS: readonly (readonly [string, RegExp])[] = [
  [`${MODULE},fault=throw`, /its function failed: Error: not today/],
  [`${MODULE},fault=exit`, /the worker ended while it opened the disk/],
  [`${MODULE},sectors=0`, /sizeBytes is 0: expected a positive multiple of 512/],
  ['./missing.js', /module \.\/missing\.js: there is no such file/],
  ['floppy', /unknown kind "floppy"/],
];

for (const [worker, reason] of REFUSALS) {
  test(`what cannot be opened is refused: ${reason.source}`, async (t) => {
    const socketPath = join(imageFolder(t), 'never.sock');
    await assert.rejects(serve({ socketPath, worker }), (error: unknown) => {
      assert.ok(error instanceof StorageError, String(error));
      assert.match(error.message, reason);
      return true;
    });
  });
}
