/** Servers that cannot be started, or closed, as they should: nothing is left, and nobody waits. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type Disk, nullDisk, openDisk, serve } from '../../src/index.ts';
import { silentLogger } from '../../src/sys/index.ts';
import { bounded, startedDevice } from '../support/client-device.ts';
import { steadyDescriptors, untilDescriptors } from '../support/descriptor-count.ts';
import { imageFolder } from '../support/image-folder.ts';

/** A disk like another one, with something of its own. */
function disguised(disk: Disk, own: object): Disk {
  return Object.assign(Object.create(disk) as Disk, own);
}

suite('a server that cannot be started leaves nothing', () => {
  const BYTES = 65536;

  test('if one of its threads dies as it starts', async (t) => {
    const before = await steadyDescriptors();
    const opened = await openDisk(nullDisk(BYTES));
    let shared = 0;
    const disk = disguised(opened, {
      share: () => (++shared === 2 ? { kind: 'readonly' } : opened.share()),
    });
    const socketPath = join(imageFolder(t), 'disk.sock');
    const options = { socketPath, disk, numQueues: 3, threads: 3, logger: silentLogger };
    await assert.rejects(bounded(serve(options)), TypeError);
    assert.equal(shared, 3);
    await untilDescriptors(before);
    // The path is free.
    await using _served = await serve({ ...options, disk: opened });
  });

  test('if the disk cannot be shared, or looked at', async (t) => {
    const before = await steadyDescriptors();
    const opened = await openDisk(nullDisk(BYTES));
    const socketPath = join(imageFolder(t), 'disk.sock');
    const fail = (): never => {
      throw new RangeError('not today');
    };
    for (const own of [{ share: fail }, { currentSizeBytes: fail }]) {
      const disk = disguised(opened, own);
      const options = { socketPath, disk, threads: 1, logger: silentLogger };
      await assert.rejects(bounded(serve(options)), /not today/);
      await untilDescriptors(before);
    }
  });
});

test('an end that goes wrong is told to all who wait for it', async (t) => {
  const opened = await openDisk(nullDisk(65536));
  const disk = disguised(opened, {
    openChannel: (...args: Parameters<Disk['openChannel']>) => {
      const channel = opened.openChannel(...args);
      return Object.assign(channel, {
        close: () => {
          throw new RangeError('not closed');
        },
      });
    },
  });
  const socketPath = join(imageFolder(t), 'disk.sock');
  const lines: string[] = [];
  const logger = { ...silentLogger, error: (line: string) => void lines.push(line) };
  const before = await steadyDescriptors();
  const served = await serve({ socketPath, disk, threads: 0, logger } as never);
  const { device, queue } = await startedDevice(socketPath);
  await queue.read(0, new Uint8Array(512));
  await assert.rejects(bounded(served.close()), /not closed/);
  await assert.rejects(bounded(served.ended), /not closed/);
  assert.match(lines.join('\n'), /^the server ends: RangeError: not closed\n/);
  device[Symbol.dispose]();
  await untilDescriptors(before);
  await opened.close();
});
