/**
 * The guest's driver comes and goes while the server stays: unbound and bound again, restarted with
 * its kernel, and reset by QEMU without a warning, with requests under way. One connection serves
 * them all.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingEngine } from '../support/reactors.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';
import { MachineMonitor, monitorArguments } from './machine-monitor.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? missingEngine('io_uring') ?? false;

/** Runs in each boot; the host tells which one it is. */
const SCRIPT = `
driver=/sys/bus/virtio/drivers/virtio_blk

make() { mkfs.ext4 -q /dev/$1 && mkdir -p /mnt/$1 && mount -t ext4 /dev/$1 /mnt/$1; }
fill() { seq 1 30000 >/mnt/$1/kept && sync; }
mounted() { mkdir -p /mnt/$1 && mount -t ext4 /dev/$1 /mnt/$1; }
is_kept() { seq 1 30000 | cmp - /mnt/$1/kept; }
is_whole() { umount /mnt/$1 && e2fsck -fn /dev/$1; }
for_both() { $1 vda && $1 vdb; }
in_flight() { read reads writes </sys/block/$1/inflight && test $((reads + writes)) -gt 0; }
start_writing() {
  for disk in vda vdb; do
    while :; do dd if=/dev/urandom of=/mnt/$disk/busy bs=16k count=64 oflag=direct; done &
  done >/dev/null 2>&1
  until in_flight vda; do :; done
  until in_flight vdb; do :; done
}
rebind() {
  device=$(basename $(readlink /sys/block/$1/device))
  # Its requests end, well or badly, or the driver would never let go.
  dd if=/dev/$1 of=/dev/null bs=4k iflag=direct 2>/dev/null &
  reader=$!
  until in_flight $1; do :; done
  echo $device >$driver/unbind || return 1
  test ! -e /sys/block/$1 || return 1
  wait $reader
  echo $device >$driver/bind
  until test -b /dev/$1; do :; done
}

host boot
boot=$host_reply
case $boot in
  1)
    check 1-make for_both make
    check 1-fill for_both fill
    umount /mnt/vda /mnt/vdb
    for round in 1 2; do
      check 1-rebind-$round for_both rebind
      check 1-mounted-$round for_both mounted
      check 1-kept-$round for_both is_kept
      check 1-whole-$round for_both is_whole
    done
    for_both mounted
    start_writing
    reboot -f ;;
  2)
    check 2-mounted for_both mounted
    check 2-kept for_both is_kept
    start_writing
    host reset ;;
  3)
    check 3-mounted for_both mounted
    check 3-kept for_both is_kept
    check 3-fill for_both fill
    check 3-whole for_both is_whole ;;
esac
`;

const ROUNDS = [1, 2].flatMap((round) =>
  ['rebind', 'mounted', 'kept', 'whole'].map((name) => `1-${name}-${round}`),
);
const CHECKS = [
  ...['1-make', '1-fill', ...ROUNDS],
  ...['2-mounted', '2-kept'],
  ...['3-mounted', '3-kept', '3-fill', '3-whole'],
];

test('a disk outlives its driver', { skip }, async (t) => {
  using first = new DiskImage(64 * MIB);
  using second = new DiskImage(64 * MIB);
  await using a = await VmServer.start(`--blk-file=${first.path}`, '--engine=io_uring');
  await using b = await VmServer.start(`--blk-file=${second.path}`, '--engine=epoll');
  const qmpPath = join(first.folder, 'qmp');
  let boots = 0;
  const boot = async (): Promise<string> => {
    boots += 1;
    assert.ok(boots <= 3, 'the guest restarts without end');
    return String(boots);
  };
  const reset = async (): Promise<void> => {
    using monitor = await MachineMonitor.connect(qmpPath);
    await monitor.execute('system_reset');
    // Nobody waits for an answer any more: the next boot must not get it.
    await new Promise(() => {});
  };
  const report = await bootGuest({
    disks: [
      { socketPath: a.socketPath, numQueues: 2 },
      { socketPath: b.socketPath, numQueues: 2, properties: { packed: 'on' } },
    ],
    script: SCRIPT,
    hostSteps: { boot, reset },
    // Overrides the harness's own choice, which is to end QEMU at a restart.
    qemuArguments: ['-action', 'reboot=reset', ...monitorArguments(qmpPath)],
    signal: t.signal,
  });
  t.diagnostic(`in all ${report.totalMs.toFixed()} ms`);
  assertChecks(report, CHECKS);
  for (const server of [a, b]) {
    await server.stop();
    assert.doesNotMatch(server.stderr, /client 2/);
  }
  first.assertCleanExt4();
  second.assertCleanExt4();
});
