/**
 * QEMU is killed while the guest writes. What the guest had synced is there, the journal repairs the
 * rest, and the server goes on to serve the next guest.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findProgram } from '../../tools/guest/programs.ts';
import { missingEngine } from '../support/reactors.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage, run } from './disk-image.ts';
import { assertChecks, bootGuest, GuestError, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? missingEngine('io_uring') ?? false;
/** The journal was replayed, which may count as a repair. */
const E2FSCK_OK = [0, 1];

const MOUNTED = `
mounted() { mkdir -p /mnt/$1 && mount -t ext4 /dev/$1 /mnt/$1; }
is_kept() { seq 1 30000 | cmp - /mnt/$1/kept; }
for_both() { $1 vda && $1 vdb; }
`;

/** Ends by itself only if something fails. */
const CRASHING = `
${MOUNTED}
make() { mkfs.ext4 -q /dev/$1 && mounted $1 && seq 1 30000 >/mnt/$1/kept && sync; }
in_flight() { read reads writes </sys/block/$1/inflight && test $((reads + writes)) -gt 0; }
check make for_both make || exit 1
for disk in vda vdb; do
  fio --directory=/mnt/$disk --size=8M --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite \\
    --bs=4k --numjobs=2 --time_based --runtime=600 --name=busy >/dev/null 2>&1 &
  while :; do mkdir /mnt/$disk/folder; sync; rmdir /mnt/$disk/folder; sync; done &
done
for disk in vda vdb; do
  until test -e /mnt/$disk/folder && in_flight $disk; do :; done
done
host kill
`;

const NEXT = `
${MOUNTED}
is_whole() { umount /mnt/$1 && e2fsck -fn /dev/$1; }
check mounted for_both mounted
check kept for_both is_kept
check whole for_both is_whole
fact recovered $(dmesg | grep -c 'EXT4-fs (vd[ab]): recovery complete')
`;

async function crash(t: TestContext, servers: readonly VmServer[]): Promise<void> {
  const killer = new AbortController();
  const guest = bootGuest({
    disks: servers.map(({ socketPath }) => ({ socketPath, numQueues: 2 })),
    fio: true,
    script: CRASHING,
    hostSteps: { kill: async () => killer.abort() },
    signal: AbortSignal.any([killer.signal, t.signal]),
  });
  await assert.rejects(guest, (error) => error instanceof GuestError && error.code === 'aborted');
  assert.ok(killer.signal.aborted);
}

/** On a copy: the image itself is the next guest's. */
function assertRepairable(image: DiskImage): void {
  const copy = join(image.folder, 'copy.img');
  copyFileSync(image.path, copy);
  assert.match(run('debugfs', ['-R', 'features', copy]), /needs_recovery/);
  const { status, stdout } = spawnSync(findProgram('e2fsck') ?? 'e2fsck', ['-p', copy]);
  assert.ok(E2FSCK_OK.includes(status ?? -1), String(stdout));
  run('e2fsck', ['-fn', copy]);
}

test('a guest that dies in the middle of its writes harms nobody', { skip }, async (t) => {
  using first = new DiskImage(64 * MIB);
  using second = new DiskImage(64 * MIB);
  await using a = await VmServer.start(`--blk-file=${first.path}`, '--engine=io_uring');
  await using b = await VmServer.start(`--blk-file=${second.path}`, '--engine=epoll');
  const servers = [a, b];
  await crash(t, servers);
  for (const server of servers) await server.said(/client 1 disconnected/);
  assertRepairable(first);
  assertRepairable(second);

  const report = await bootGuest({
    disks: servers.map(({ socketPath }) => ({ socketPath, numQueues: 2 })),
    script: NEXT,
    signal: t.signal,
  });
  assertChecks(report, ['mounted', 'kept', 'whole']);
  assert.equal(report.facts.get('recovered'), '2');
  for (const server of servers) await server.stop();
});
