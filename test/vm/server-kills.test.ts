/**
 * The server is killed and started again, over and over, while the guest writes and verifies: QEMU
 * keeps for the next server what was under way with the last one, and the guest sees no error.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkImage, qemuImg, qemuImgRequirements } from '../support/qemu-img.ts';
import { VmServer } from '../support/vm-server.ts';
import { bootBusyGuest } from './busy-guest.ts';
import { DiskImage } from './disk-image.ts';
import { guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
/** While the guest writes. */
const KILLS = 10;
/** What the guest gets done in between, at most. */
const MAX_RUN_MS = 200;
const skip = guestRequirements() ?? qemuImgRequirements() ?? false;

/** Kill the server and start it again, as often as it takes. */
async function killOften(server: VmServer): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(Math.random() * MAX_RUN_MS);
    await server.kill();
    await server.startAgain();
    await server.isSetUp();
  }
}

async function surviveKills(t: TestContext, diskOption: string, packed = 'off'): Promise<void> {
  await using server = await VmServer.start(diskOption, '--num-queues=2', '--log-level=debug');
  const { socketPath } = server;
  const disk = { socketPath, numQueues: 2, reconnectSeconds: 1, properties: { packed } };
  const report = await bootBusyGuest(disk, () => killOften(server), t.signal);
  t.diagnostic(`${KILLS} kills, in all ${report.totalMs.toFixed()} ms`);
  await server.stop();
}

test('a busy guest survives servers that are killed', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  await surviveKills(t, `--blk-file=${image.path}`);
  image.assertCleanExt4();
});

test('so does one with packed rings', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  await surviveKills(t, `--blk-file=${image.path}`, 'on');
  image.assertCleanExt4();
});

test('so does one on a qcow2 image whose tables are written through', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  const path = join(image.folder, 'disk.qcow2');
  qemuImg('create', '-q', '-f', 'qcow2', path, String(64 * MIB));
  await surviveKills(t, `--disk=qcow2(file(${path}),tables=write-through)`);
  assert.equal(checkImage(path).corruptions, 0);
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', path, image.path);
  image.assertCleanExt4();
});
