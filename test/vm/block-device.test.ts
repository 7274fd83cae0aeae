/**
 * What the guest's kernel sees of a disk: size, blocks, limits, cache, serial number and queues, for
 * servers with different options, all in one guest.
 */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';
import { DISK_FACTS, diskFacts } from './sysfs-facts.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? false;

/** Twenty bytes: as long as it gets, without a zero at its end. */
const LONG_SERIAL = 'serial-of-20-bytes-!';

const SCRIPT = `
${DISK_FACTS}
# Sums up how often the interrupt of a queue of the second disk has come.
interrupts() {
  device=$(basename $(readlink /sys/block/vdb/device))
  awk -v name="$device-req.$1" '$NF == name { for (cpu = 2; cpu <= 5; cpu++) sum += $cpu }
    END { print sum + 0 }' /proc/interrupts
}
uses_queue() {
  before=$(interrupts $1)
  taskset -c $1 dd if=/dev/vdb of=/dev/null bs=4k count=8 skip=$(($1 * 8)) iflag=direct || return 1
  test $(($(interrupts $1) - before)) -gt 0
}
odd_block() { ! dd if=/dev/vdb of=/dev/null bs=512 count=1 iflag=direct; }
past_the_end() {
  dd if=/dev/vda of=/dev/null bs=512 skip=131072 count=2 iflag=direct 2>&1 | grep '^1+0 records in'
}
write_at_far_end() {
  dd if=/dev/zero of=/dev/vdd bs=4k seek=$((3 * 1024 * 1024 * 256 - 1)) count=1 oflag=direct
}
synced_write() { dd if=/dev/zero of=/dev/vda bs=4k count=4 oflag=direct conv=fsync; }

for disk in vda vdb vdc vdd; do disk_facts $disk; done
for queue in 0 1 2 3; do check queue-$queue uses_queue $queue; done
check odd-block odd_block
check past-the-end past_the_end
check far-end write_at_far_end

echo 'write through' >/sys/block/vda/cache_type
fact vda-now $(cat /sys/block/vda/cache_type)/$(cat /sys/block/vda/queue/write_cache)
check synced-write synced_write
echo 'write back' >/sys/block/vda/cache_type
check synced-write-again synced_write
`;

const CHECKS =
  'queue-0 queue-1 queue-2 queue-3 odd-block past-the-end far-end synced-write synced-write-again';

/** What is the same on all disks that can be written. */
const WRITABLE = {
  ro: '0',
  serial: 'vhostkit',
  cache_type: 'write back',
  'queue/write_cache': 'write back',
  'queue/logical_block_size': '512',
  'queue/optimal_io_size': '0',
  'queue/max_segments': '126',
  'queue/max_segment_size': String(MIB),
  'queue/discard_max_bytes': String(32 * MIB),
  'queue/max_discard_segments': '16',
  'queue/write_zeroes_max_bytes': String(32 * MIB),
  'queue/nr_requests': '128',
};

const READ_ONLY = {
  ...WRITABLE,
  ro: '1',
  'queue/discard_max_bytes': '0',
  'queue/max_discard_segments': '1',
  'queue/write_zeroes_max_bytes': '0',
};

test('the guest sees each disk as its server was asked to show it', { skip }, async (t) => {
  // Not a whole number of 4096-byte blocks.
  using odd = new DiskImage(64 * MIB + 512);
  using even = new DiskImage(64 * MIB);
  await using a = await VmServer.start(
    ...[`--blk-file=${odd.path}`, '--num-queues=1', '--log-level=debug'],
  );
  await using b = await VmServer.start(
    ...[`--blk-file=${even.path}`, '--block-size=4096', `--serial=${LONG_SERIAL}`],
    ...['--cache=writethrough', '--num-queues=4', '--threads=3'],
  );
  await using c = await VmServer.start(`--blk-file=${even.path}`, '--read-only', '--locking=off');
  await using d = await VmServer.start('--disk=null,size=3T', '--serial=');
  const report = await bootGuest({
    vcpus: 4,
    disks: [
      { socketPath: a.socketPath, numQueues: 1 },
      { socketPath: b.socketPath, numQueues: 4 },
      { socketPath: c.socketPath, numQueues: 2, queueSize: 64 },
      { socketPath: d.socketPath },
    ],
    script: SCRIPT,
    signal: t.signal,
  });
  assertChecks(report, CHECKS.split(' '));
  for (const server of [a, b, c, d]) await server.stop();

  const physical = String(statSync(even.path).blksize);
  const blocks = { 'queue/physical_block_size': physical, 'queue/minimum_io_size': physical };
  const sees = (disk: string, expected: Record<string, string>): void => {
    const { 'device/features': _, ...facts } = diskFacts(report, disk);
    assert.deepEqual(facts, expected, disk);
  };
  sees('vda', { ...WRITABLE, ...blocks, size: '131073', queues: '1' });
  sees('vdb', {
    ...{ ...WRITABLE, ...blocks, size: '131072', queues: '4', serial: LONG_SERIAL },
    ...{ cache_type: 'write through', 'queue/write_cache': 'write through' },
    'queue/logical_block_size': '4096',
  });
  sees('vdc', { ...READ_ONLY, ...blocks, size: '131072', queues: '2', 'queue/nr_requests': '64' });
  sees('vdd', {
    ...{ ...WRITABLE, size: String((3 * MIB * MIB) / 512), queues: '4', serial: '' },
    ...{ 'queue/physical_block_size': '512', 'queue/minimum_io_size': '512' },
  });

  // The cache that the guest switches off and on again is the server's.
  assert.equal(report.facts.get('vda-now'), 'write through/write through');
  const switches = a.stderr.matchAll(/SET_CONFIG \{offset: 32, size: 1, flags: 0\} (\d\d)/g);
  assert.deepEqual(
    Array.from(switches, ([, value]) => value),
    ['00', '01'],
  );
  // With it on, what is synced is flushed; with it off, there is nothing to flush.
  assert.equal(a.counted().flushes, 1);
});
