/**
 * The server is restarted while the guest runs: QEMU connects again, and the guest, which had no
 * request under way, never notices.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmServer } from '../support/vm-server.ts';
import { bootBusyGuest } from './busy-guest.ts';
import { DiskImage, sha256 } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? false;

const SCRIPT = `
add() { seq 1 30000 >/mnt/$1 && sync; }
is_kept() {
  echo 3 >/proc/sys/vm/drop_caches
  for name in $*; do seq 1 30000 | cmp - /mnt/$name || return 1; done
}

check mkfs mkfs.ext4 -q /dev/vda
check mount mount -t ext4 /dev/vda /mnt
check add-first add first
host restart
check kept-1 is_kept first
check add-second add second
host restart
host restart
check kept-2 is_kept first second
host crash
check kept-3 is_kept first second
check add-third add third
check fstrim fstrim /mnt
check umount umount /mnt
check e2fsck e2fsck -fn /dev/vda
`;

const CHECKS =
  'mkfs mount add-first kept-1 add-second kept-2 kept-3 add-third fstrim umount e2fsck'.split(' ');

/** What \`seq 1 30000\` prints. */
const CONTENTS = Array.from({ length: 30_000 }, (_, index) => `${index + 1}\n`).join('');

test('a quiet guest survives restarts of the server', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  await using server = await VmServer.start(`--blk-file=${image.path}`, '--log-level=debug');
  const startAgain = async (): Promise<void> => {
    await server.startAgain();
    await server.isSetUp();
  };
  const report = await bootGuest({
    disks: [{ socketPath: server.socketPath, numQueues: 2, reconnectSeconds: 1 }],
    script: SCRIPT,
    hostSteps: {
      restart: async () => {
        await server.stop();
        await startAgain();
      },
      crash: async () => {
        await server.kill();
        await startAgain();
      },
    },
    signal: t.signal,
  });
  t.diagnostic(`in all ${report.totalMs.toFixed()} ms`);
  assertChecks(report, CHECKS);
  await server.stop();
  image.assertCleanExt4();
  for (const name of ['first', 'second', 'third']) {
    assert.equal(sha256(image.ext4File(`/${name}`)), sha256(Buffer.from(CONTENTS)));
  }
});

/** Of a server that has just been set up. */
const RESTARTS = 12;
/** It ends before the guest has done much, or anything. */
const MAX_RUN_MS = 5;

test('a busy guest survives servers that hardly begin', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  await using server = await VmServer.start(`--blk-file=${image.path}`, '--log-level=debug');
  const restart = async (): Promise<void> => {
    for (let time = 0; time < RESTARTS; time++) {
      await sleep(Math.random() * MAX_RUN_MS);
      await server.stop();
      await server.startAgain();
      await server.isSetUp();
    }
  };
  const disk = { socketPath: server.socketPath, numQueues: 2, reconnectSeconds: 1 };
  const report = await bootBusyGuest(disk, restart, t.signal);
  t.diagnostic(`${RESTARTS} restarts, in all ${report.totalMs.toFixed()} ms`);
  await server.stop();
  image.assertCleanExt4();
});
