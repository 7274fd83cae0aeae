/** Loads on a device whose server is killed and started again: what both steps have in common. */
import assert from 'node:assert/strict';
import type { Blkio } from '../../src/blkio/index.ts';
import { nextEvent } from './client-device.ts';
import type { ClientLoad } from './client-load.ts';
import type { QueueThread } from './queue-threads.ts';
import { assertSameBytes } from './request-bytes.ts';

/** A back-end that can be killed and started again at the same path. */
interface Restarting {
  kill(): Promise<unknown>;
  start(): Promise<unknown>;
}

/** Kill a server and start another; resolves when the device has lost the one and found the other. */
export async function replaceServer(server: Restarting, device: Blkio): Promise<void> {
  const told = Promise.all([nextEvent(device, 'disconnect'), nextEvent(device, 'reconnect')]);
  await server.kill();
  await server.start();
  await told;
}

/**
 * Stop loads, of which nothing may have failed, and hold the image to what they have written: each
 * has a part of it, one behind the other.
 */
export async function assertLoadsKept(
  own: ClientLoad,
  threads: readonly QueueThread[],
  readImage: () => Uint8Array,
): Promise<void> {
  const models = [await own.stop()];
  for (const thread of threads) {
    const { failures, model } = await thread.stop();
    assert.deepEqual(failures, []);
    models.push(model);
  }
  const image = readImage();
  let start = 0;
  for (const [index, model] of models.entries()) {
    assertSameBytes(image.subarray(start, start + model.length), model, `part ${index}`);
    start += model.length;
  }
}
