/**
 * A device whose back-end, qemu-storage-daemon, is killed under load and started again. The daemon
 * does not track what is in flight, and need not: the device asks for it again.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { assertFails, vhostUserDevice } from '../support/client-device.ts';
import { ClientLoad } from '../support/client-load.ts';
import { eventually } from '../support/eventually.ts';
import { replaceServer } from '../support/loads-over-kills.ts';
import { assertSameBytes } from '../support/request-bytes.ts';
import {
  type StorageDaemon,
  startStorageDaemon,
  storageDaemonRequirements,
} from '../support/storage-daemon.ts';

const skip = storageDaemonRequirements() ?? false;
const SIZE_BYTES = 4 * 1024 * 1024;
const KILLS = 4;
const LANES = 64;

/** A daemon at a socket, with an image: `start` anew after each `kill`. */
class RestartingDaemon implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'restarting-daemon-'));
  readonly socketPath: string = join(this.#folder, 'socket');
  readonly #imagePath = join(this.#folder, 'image');
  #daemon: StorageDaemon | undefined;

  constructor() {
    writeFileSync(this.#imagePath, new Uint8Array(SIZE_BYTES));
  }

  async start(): Promise<void> {
    rmSync(this.socketPath, { force: true });
    const { socketPath } = this;
    this.#daemon = await startStorageDaemon({
      imagePath: this.#imagePath,
      socketPath,
      numQueues: 2,
    });
  }

  async kill(): Promise<void> {
    if (this.#daemon === undefined) return;
    process.kill(this.#daemon.pid, 'SIGKILL');
    await this.#daemon.stop();
  }

  readImage(): Uint8Array {
    return readFileSync(this.#imagePath);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.stop();
    rmSync(this.#folder, { recursive: true });
  }
}

suite('a device of qemu-storage-daemon, which is killed under load', { skip }, () => {
  test('and started again: every request succeeds, once', async () => {
    await using daemon = new RestartingDaemon();
    await daemon.start();
    using device = vhostUserDevice(daemon.socketPath, { 'reconnect-ms': 5 });
    await device.connect();
    device.set('num-queues', 2);
    await device.start();
    const load = new ClientLoad([device.asyncQueue(0), device.asyncQueue(1)], SIZE_BYTES, LANES);
    for (let kill = 0; kill < KILLS; kill++) {
      const before = load.done;
      await eventually('requests are done', () => load.done > before + LANES);
      await replaceServer(daemon, device);
    }
    const model = await load.stop();
    assertSameBytes(daemon.readImage(), model, 'the image');
  });

  test('and nobody waits for it: everything fails', async () => {
    await using daemon = new RestartingDaemon();
    await daemon.start();
    using device = vhostUserDevice(daemon.socketPath);
    await device.connect();
    await device.start();
    const queue = device.asyncQueue(0);
    const load = new ClientLoad([queue], SIZE_BYTES, LANES);
    await eventually('requests are done', () => load.done > LANES);
    await daemon.kill();
    await assertFails(load.stop(), 'ECONNRESET');
    await assertFails(queue.flush(), 'ECONNRESET');
    await eventually('no request is left', () => queue.outstanding === 0);
    assert.equal(device.state, 'started');
  });
});
