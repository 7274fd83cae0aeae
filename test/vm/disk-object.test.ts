/**
 * A guest lives on disks that are objects: one of this process, whose methods take a while, and one
 * that a module exports, over an image. QEMU does not know the difference; the host finds on both
 * what the guest has left.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type DiskObject, serve } from '../../src/index.ts';
import { RecordingLogger } from '../support/recording-logger.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage, sha256 } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 64 * MIB;
const MODULE = fileURLToPath(new URL('../support/memory-module.js', import.meta.url));
const NAMES = ['vda', 'vdb'] as const;

const skip = guestRequirements() ?? false;

const SCRIPT = `
write_file() { dd if=/dev/urandom of=/mnt/$1/data bs=1M count=4 conv=fsync status=none; }
same_file() { test "$(sha256sum </mnt/$1/data)" = "$(cat /tmp/sum-$1)"; }
verified() {
  fio --directory=/mnt/$1 --direct=1 --ioengine=libaio --iodepth=16 --size=2M --rw=randwrite \\
    --bsrange=4k-64k --verify=crc32c --verify_fatal=1 --fsync=64 --name=one --name=two
}
for disk in ${NAMES.join(' ')}; do
  check mkfs-$disk mkfs.ext4 -q /dev/$disk
  mkdir -p /mnt/$disk
  check mount-$disk mount -t ext4 /dev/$disk /mnt/$disk
done
for disk in ${NAMES.join(' ')}; do
  check write-$disk write_file $disk
  sha256sum </mnt/$disk/data >/tmp/sum-$disk
  check fio-$disk verified $disk
  check fstrim-$disk fstrim -v /mnt/$disk
done
sync
echo 3 >/proc/sys/vm/drop_caches
for disk in ${NAMES.join(' ')}; do
  check same-$disk same_file $disk
  check umount-$disk umount /mnt/$disk
  check e2fsck-$disk e2fsck -fn /dev/$disk
  fact disk-$disk $(sha256sum </dev/$disk)
done
`;

const CHECKS = ['mkfs', 'mount', 'write', 'fio', 'fstrim', 'same', 'umount', 'e2fsck'].flatMap(
  (check) => NAMES.map((name) => `${check}-${name}`),
);

/** A disk in memory whose methods take turns of the event loop. */
function slowMemory(memory: Uint8Array): DiskObject {
  return {
    sizeBytes: memory.length,
    description: 'a slow disk in memory',
    async read(buffer, offset) {
      await nextTurn();
      buffer.set(memory.subarray(offset, offset + buffer.length));
    },
    async write(buffer, offset) {
      await nextTurn();
      memory.set(buffer, offset);
    },
    async flush() {
      await nextTurn();
    },
    async discard(offset, length) {
      await nextTurn();
      memory.fill(0, offset, offset + length);
    },
    writeZeroes(offset, length) {
      memory.fill(0, offset, offset + length);
    },
  };
}

test('a guest lives on disks that are objects', { skip }, async (t) => {
  using image = new DiskImage(DISK_BYTES);
  using left = new DiskImage(DISK_BYTES);
  const memory = new Uint8Array(DISK_BYTES);
  const logger = new RecordingLogger();
  const socketPath = join(image.folder, 'object.sock');
  const served = await serve({ socketPath, disk: slowMemory(memory), numQueues: 2, logger });
  const disk = `${MODULE}(file(${image.path}))`;
  await using server = await VmServer.start('--disk', disk, '--num-queues=2', '--sandbox=off');
  const report = await bootGuest({
    disks: [
      { socketPath, numQueues: 2 },
      { socketPath: server.socketPath, numQueues: 2 },
    ],
    vcpus: 2,
    memoryMiB: 512,
    fio: true,
    script: SCRIPT,
    signal: t.signal,
  });
  assertChecks(report, CHECKS);
  const { counters } = served;
  await served.close();
  await server.stop();
  assert.deepEqual([...logger.warnings, ...logger.errors], []);
  assert.ok(counters.reads > 0 && counters.writes > 0 && counters.flushes > 0);
  assert.ok(counters.discards > 0);
  const troubles = [counters.diskErrors, counters.invalidRequests, counters.brokenRings];
  assert.deepEqual(troubles, [0, 0, 0]);
  writeFileSync(left.path, memory);
  for (const [name, { path }] of [
    ['vda', left],
    ['vdb', image],
  ] as const) {
    const inside = report.facts.get(`disk-${name}`)?.split(' ')[0];
    assert.equal(sha256(readFileSync(path)), inside, name);
  }
  left.assertCleanExt4();
  image.assertCleanExt4();
});
