/**
 * A guest lives on a disk of ours: it makes a file system, fills it, trims it, and writes to it from
 * several queues at once. Afterwards the host finds everything in the image.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingEngine } from '../support/reactors.ts';
import { VmServer } from '../support/vm-server.ts';
import { directIoRequirement } from './direct-io.ts';
import { DiskImage, sha256 } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 256 * MIB;
/** What the guest deletes before it trims. */
const DELETED_BYTES = 48 * MIB;

const missing = guestRequirements();

const SCRIPT = `
write_files() {
  mkdir /mnt/files && for number in 1 2 3 4; do
    dd if=/dev/urandom of=/mnt/files/$number bs=300k count=$number status=none || return 1
  done
}
write_deleted() { dd if=/dev/zero bs=1M count=48 status=none | tr '\\0' x >/mnt/deleted; }
same_files() { (cd /mnt/files && sha256sum -c /tmp/sums); }

check mkfs mkfs.ext4 -q /dev/vda
check mount mount -t ext4 /dev/vda /mnt
check write-files write_files
(cd /mnt/files && sha256sum *) >/tmp/sums
check write-deleted write_deleted
sync
host measure-full
rm /mnt/deleted
sync
check fstrim fstrim -v /mnt
host measure-trimmed
check fio fio --directory=/mnt --direct=1 --ioengine=libaio --iodepth=16 --size=4M \\
  --rw=randwrite --bsrange=4k-64k --verify=crc32c --verify_fatal=1 --fsync=64 \\
  --name=one --name=two --name=three
check fio-again fio --directory=/mnt --direct=1 --ioengine=libaio --iodepth=32 --size=4M \\
  --rw=randrw --bs=4k --verify=crc32c --verify_fatal=1 --name=four --name=five
sync
echo 3 >/proc/sys/vm/drop_caches
check same-files same_files
for number in 1 2 3 4; do fact file-$number $(sha256sum </mnt/files/$number); done
check umount umount /mnt
check e2fsck e2fsck -fn /dev/vda
`;

const CHECKS =
  'mkfs mount write-files write-deleted fstrim fio fio-again same-files umount e2fsck'.split(' ');

const RINGS = { split: {}, packed: { packed: 'on' } } as const;
const CASES = [
  ['io_uring', 'writeback', 'split'],
  ['io_uring', 'none', 'split'],
  ['epoll', 'writeback', 'split'],
  ['epoll', 'none', 'split'],
  ['io_uring', 'writeback', 'packed'],
  ['io_uring', 'none', 'packed'],
] as const;

for (const [engine, cache, ring] of CASES) {
  const skip =
    missing ??
    missingEngine(engine) ??
    (cache === 'none' ? directIoRequirement() : undefined) ??
    false;
  void test(`a file system lives on a disk: ${engine}, cache=${cache}, ${ring} rings`, {
    skip,
  }, async (t) => {
    using image = new DiskImage(DISK_BYTES);
    const args = [`--blk-file=${image.path}`, `--engine=${engine}`, `--cache=${cache}`];
    await using server = await VmServer.start(...args, '--threads=2');
    const allocatedBytes: number[] = [];
    const measure = async (): Promise<void> => {
      allocatedBytes.push(image.allocatedBytes);
    };
    const report = await bootGuest({
      disks: [{ socketPath: server.socketPath, numQueues: 2, properties: RINGS[ring] }],
      fio: true,
      script: SCRIPT,
      hostSteps: { 'measure-full': measure, 'measure-trimmed': measure },
      signal: t.signal,
    });
    assertChecks(report, CHECKS);
    await server.stop();
    t.diagnostic(`${report.totalMs.toFixed()} ms, ${JSON.stringify(server.counted())}`);

    image.assertCleanExt4();
    for (const number of [1, 2, 3, 4]) {
      const inside = report.facts.get(`file-${number}`)?.split(' ')[0];
      assert.equal(sha256(image.ext4File(`/files/${number}`)), inside);
    }
    const [full = 0, trimmed = 0] = allocatedBytes;
    // What delayed allocation and the journal take meanwhile is far less than the margin.
    assert.ok(full - trimmed > DELETED_BYTES * 0.9, `${full} bytes became ${trimmed}`);
    const { flushes = 0, discards = 0 } = server.counted();
    assert.ok(flushes > 0 && discards > 0);
  });
}
