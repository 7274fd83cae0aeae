/** Closing a device while it connects, starts, or maps memory: that ends with ENODEV, at once. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { Blkio, MemoryRegion } from '../../src/blkio/index.ts';
import { assertFails, vhostUserDevice } from '../support/client-device.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import { FakeBackend } from '../support/fake-backend.ts';
import { setUp, withEachMessage } from '../support/fake-set-up.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { openDescriptors } from '../support/open-descriptors.ts';

const PAGE = 4096;
/** More steps than connecting to a file, or to a back-end, and starting take. */
const FILE_STEPS = 40;
const BACKEND_TURNS = 200;

/** Close a device, and see that it cannot be used any more. */
async function closeDuring(device: Blkio, outcome: Promise<void>): Promise<void> {
  device.close();
  await assertFails(outcome, 'ENODEV');
  await assertFails(device.connect(), 'ENODEV');
  await assertFails(device.start(), 'ENODEV');
  assert.throws(() => device.queue(0), { code: 'ENODEV' });
  device.close();
}

/** As `closeDuring`, unless it has started already. True if it had. */
async function closeOrStarted(device: Blkio, outcome: Promise<void>): Promise<boolean> {
  if (device.state !== 'started') {
    await closeDuring(device, outcome);
    return false;
  }
  device.close();
  await outcome;
  return true;
}

suite('a device of a silent back-end is closed', () => {
  for (const [name, isAnswered] of [
    ['while each message waits for its answer', false],
    ['while the answer to each message is on its way', true],
  ] as const) {
    test(name, async () => {
      const before = await steadyDescriptors();
      await withEachMessage(async (backend, at) => {
        const device = vhostUserDevice(backend.socketPath);
        const isReached = new Promise<void>((resolve) => {
          backend.script = ({ number }) => {
            if (number === at) resolve();
            return number === at && !isAnswered ? 'silence' : 'usual';
          };
        });
        const outcome = setUp(device);
        outcome.catch(() => {});
        await isReached;
        await closeDuring(device, outcome);
      });
      await untilDescriptors(before);
    });
  }

  test('after any number of turns of the event loop', async () => {
    const before = await steadyDescriptors();
    {
      using backend = new FakeBackend();
      let isStarted = false;
      for (let turns = 0; !isStarted; turns++) {
        assert.ok(turns < BACKEND_TURNS, 'it never starts');
        const device = vhostUserDevice(backend.socketPath);
        const outcome = setUp(device);
        outcome.catch(() => {});
        for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
        isStarted = await closeOrStarted(device, outcome);
      }
    }
    await untilDescriptors(before);
  });

  test('while it maps memory', async () => {
    const before = await steadyDescriptors();
    {
      using backend = new FakeBackend();
      using region = MemoryRegion.allocate(PAGE);
      const device = vhostUserDevice(backend.socketPath);
      await setUp(device);
      const isReached = new Promise<void>((resolve) => {
        backend.script = () => {
          resolve();
          return 'silence';
        };
      });
      const outcome = device.mapRegion(region);
      outcome.catch(() => {});
      await isReached;
      await closeDuring(device, outcome);
    }
    await untilDescriptors(before);
  });

  test('with several calls in line: each fails', async () => {
    using backend = new FakeBackend({ script: () => 'silence' });
    const device = vhostUserDevice(backend.socketPath);
    const calls = [device.connect(), device.connect(), device.start(), device.start()];
    for (const call of calls) call.catch(() => {});
    await new Promise(setImmediate);
    device.close();
    for (const call of calls) await assertFails(call, 'ENODEV');
  });
});

/** Descriptors of a file that are open. */
function descriptorsOf(path: string): string[] {
  return openDescriptors().filter((line) => line.endsWith(path));
}

function image(t: CleanUp): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, new Uint8Array(PAGE));
  return path;
}

suite('a device of a file is closed', () => {
  test('after each step of connecting and starting', async (t) => {
    const path = image(t);
    let isStarted = false;
    for (let steps = 0; !isStarted; steps++) {
      assert.ok(steps < FILE_STEPS, 'it never starts');
      const device = new Blkio('io_uring');
      device.set('path', path);
      const outcome = setUp(device);
      outcome.catch(() => {});
      for (let step = 0; step < steps; step++) await Promise.resolve();
      isStarted = await closeOrStarted(device, outcome);
      assert.deepEqual(descriptorsOf(path), []);
    }
  });
});
