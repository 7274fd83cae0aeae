/**
 * The server is killed and started again, over and over, while the guest writes and verifies: QEMU
 * keeps for the next server what was under way with the last one, and the guest sees no error.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
/** While the guest writes. */
const KILLS = 10;
/** What the guest gets done in between, at most. */
const MAX_RUN_MS = 200;
const skip = guestRequirements() ?? false;

const SCRIPT = `
write() {
  fio --directory=/mnt --direct=1 --ioengine=libaio --iodepth=32 --size=4M --rw=randwrite \\
    --bsrange=512-64k --verify=crc32c --verify_fatal=1 --numjobs=2 --name=verified
}
write_while_killed() {
  host kill-often
  until write || return 1; host is-enough; test $host_reply = yes; do :; done
}
no_errors() { ! dmesg | grep -iE 'i/o error|buffer error|ext4-fs error|remount'; }

check mkfs mkfs.ext4 -q /dev/vda
check mount mount -t ext4 /dev/vda /mnt
check fio write_while_killed
check no-errors no_errors
check umount umount /mnt
check e2fsck e2fsck -fn /dev/vda
`;

const CHECKS = 'mkfs mount fio no-errors umount e2fsck'.split(' ');

/** Kill the server and start it again, as often as it takes. */
async function killOften(server: VmServer): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(Math.random() * MAX_RUN_MS);
    await server.kill();
    await server.startAgain();
    await server.said(/ring 0 runs/);
  }
}

test('a busy guest survives servers that are killed', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  const args = [`--blk-file=${image.path}`, '--num-queues=2', '--log-level=debug'];
  await using server = await VmServer.start(...args);
  let killing: Promise<void> | undefined;
  let isOver = false;
  const report = await bootGuest({
    disks: [{ socketPath: server.socketPath, numQueues: 2, reconnectSeconds: 1 }],
    script: SCRIPT,
    fio: true,
    hostSteps: {
      'kill-often': async () => {
        killing = killOften(server).finally(() => {
          isOver = true;
        });
        killing.catch(() => {});
      },
      'is-enough': async () => (isOver ? 'yes' : 'no'),
    },
    timeoutMs: 200_000,
    signal: t.signal,
  });
  await killing;
  t.diagnostic(`${KILLS} kills, in all ${report.totalMs.toFixed()} ms`);
  assertChecks(report, CHECKS);
  await server.stop();
  image.assertCleanExt4();
  assert.ok(isOver);
});
