/** Disks in workers that end by themselves: nobody waits for them, and nothing of them is left. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AsyncQueue, Blkio } from '../../src/blkio/index.ts';
import { type Disk, file, openDisk, type ServedDisk, serve } from '../../src/index.ts';
import type { Logger } from '../../src/sys/index.ts';
import { bounded, startedDevice } from '../support/client-device.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import { eventually } from '../support/eventually.ts';
import { imageFolder } from '../support/image-folder.ts';
import { openDescriptors } from '../support/open-descriptors.ts';

const MODULE = fileURLToPath(new URL('../support/worker-disk-module.js', import.meta.url));
const SECTORS = 64;
const LAST = (SECTORS - 1) * 512;

interface Served {
  readonly disk: ServedDisk;
  readonly errors: string[];
}

async function serveModule(socketPath: string, below = ''): Promise<Served> {
  const errors: string[] = [];
  const logger: Logger = {
    ...{ debug() {}, info() {}, warn() {} },
    error: (line) => void errors.push(line),
  };
  const parameters = `sectors=${SECTORS}`;
  const worker = below === '' ? `${MODULE},${parameters}` : `${MODULE}(${below}, ${parameters})`;
  return { disk: await serve({ socketPath, worker, logger }), errors };
}

/** Have the disk do something: see its module. */
function order(queue: AsyncQueue, letter: string): Promise<unknown> {
  return queue.write(LAST, new Uint8Array(512).fill(letter.charCodeAt(0)));
}

function socketIn(t: TestContext): string {
  return join(imageFolder(t), 'disk.sock');
}

/** A client with a read that is never answered, whose disk then ends its thread. */
async function losing(
  socketPath: string,
  letter: string,
): Promise<{ device: Blkio; read: Promise<unknown> }> {
  const { device, queue } = await startedDevice(socketPath, { 'reconnect-ms': 5 });
  await order(queue, 'h');
  const read = queue.read(0, new Uint8Array(512));
  // Its answer may be lost with the thread.
  order(queue, letter).catch(() => {});
  return { device, read };
}

suite('a disk whose thread ends', () => {
  const ends: readonly (readonly [string, string, object, RegExp])[] = [
    ['process.exit', 'x', { name: 'ExportError', code: 'WORKER_ENDED' }, /ended \(code 7\)$/],
    ['an uncaught error', 'd', { name: 'Error' }, /the disk has died\n +at /],
  ];
  for (const [name, letter, error, line] of ends) {
    test(`by ${name}: the next server goes on where it was`, async (t) => {
      const socketPath = socketIn(t);
      const { disk, errors } = await serveModule(socketPath);
      const { device, read } = await losing(socketPath, letter);
      t.after(() => device[Symbol.dispose]());
      await assert.rejects(bounded(disk.ended), error);
      await bounded(disk.close());
      assert.equal(existsSync(socketPath), false, 'others would wait there');
      assert.equal(errors.length, 1, errors.join('\n'));
      assert.match(errors[0], /^the server ends: /);
      assert.match(errors[0], line);
      const next = await serveModule(socketPath);
      await bounded(read);
      await bounded(next.disk.close());
      await next.disk.ended;
      assert.deepEqual(next.errors, []);
    });
  }

  test('without a client: who waits for the server is told', async (t) => {
    const { disk } = await serveModule(socketIn(t));
    const ended = assert.rejects(bounded(disk.ended), { code: 'WORKER_ENDED' });
    const { device, queue } = await startedDevice(disk.socketPath);
    await order(queue, 'x');
    device[Symbol.dispose]();
    await ended;
    await bounded(disk.close());
  });

  for (const [name, letter] of ends) {
    test(`by ${name}: nothing of it stays open, or locked`, async (t) => {
      const socketPath = socketIn(t);
      const image = join(imageFolder(t), 'disk.img');
      writeFileSync(image, new Uint8Array(SECTORS * 512).fill(9));
      const before = await steadyDescriptors();
      const { disk } = await serveModule(socketPath, `file(${image})`);
      const { device, queue } = await startedDevice(socketPath);
      const bytes = new Uint8Array(512);
      await queue.read(0, bytes);
      assert.equal(bytes[0], 9);
      await order(queue, letter);
      await assert.rejects(bounded(disk.ended));
      await bounded(disk.close());
      device[Symbol.dispose]();
      // As soon as the kernel has done with the ring.
      await eventually(
        () => openDescriptors().join('\n'),
        () => !openDescriptors().some((line) => line.includes(image)),
      );
      await untilDescriptors(before);
      const again = await openWhenFree(image);
      await again.close();
    });
  }
});

/** The kernel lets a lock go with the last request that it was held for. */
async function openWhenFree(image: string): Promise<Disk> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openDisk(file(image));
    } catch (error) {
      if ((error as { code?: string }).code !== 'DISK_IN_USE' || attempt === 1000) throw error;
      await sleep(20);
    }
  }
}
