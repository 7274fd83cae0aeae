/**
 * One server takes the place of another while the guest writes and verifies: it sees a pause, and no
 * error.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmServer } from '../support/vm-server.ts';
import { bootBusyGuest } from './busy-guest.ts';
import { DiskImage } from './disk-image.ts';
import { guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
/** While the guest writes. */
const UPGRADES = 3;
/** What the guest gets done in between, at most. */
const MAX_RUN_MS = 500;
const skip = guestRequirements() ?? false;

/** Returns how long no ring ran, each time. */
async function upgradeOften(server: VmServer): Promise<number[]> {
  const pauses: number[] = [];
  for (let upgrade = 0; upgrade < UPGRADES; upgrade++) {
    await sleep(Math.random() * MAX_RUN_MS);
    pauses.push(await server.upgrade());
  }
  return pauses;
}

test('a busy guest sees a pause when the server is upgraded', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  const args = [`--blk-file=${image.path}`, '--num-queues=2', '--log-level=debug'];
  await using server = await VmServer.start(...args);
  let pauses: readonly number[] = [];
  const disk = { socketPath: server.socketPath, numQueues: 2, reconnectSeconds: 1 };
  const upgrade = async (): Promise<void> => {
    pauses = await upgradeOften(server);
  };
  const report = await bootBusyGuest(disk, upgrade, t.signal);
  assert.equal(pauses.length, UPGRADES);
  t.diagnostic(`pauses: ${pauses.join(' ')} ms; in all ${report.totalMs.toFixed()} ms`);
  await server.stop();
  image.assertCleanExt4();
});
