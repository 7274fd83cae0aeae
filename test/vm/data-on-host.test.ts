/**
 * What a guest has written and synced is in the image, at its place, while the guest still runs.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CacheMode } from '../../src/storage/index.ts';
import { VmServer } from '../support/vm-server.ts';
import { directIoRequirement } from './direct-io.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 16 * MIB;
const LINE_BYTES = 16;

const MODES: readonly CacheMode[] = ['writeback', 'none', 'writethrough'];
const DISKS = ['vda', 'vdb', 'vdc'];

const skip = guestRequirements() ?? directIoRequirement() ?? false;

/** Runs of lines: first and number. The first is neither at a block's start nor at its end. */
const BUFFERED = [12345, 4321] as const;
const DIRECT = [65536, 8192] as const;
const LATER = [100_000, 10] as const;

/** Every line tells its disk and its number, which is its place. */
const SCRIPT = `
lines() {
  awk -v disk=$disk -v first=$1 -v count=$2 'BEGIN {
    for (number = first; number < first + count; number++) printf "%s %011d\\n", disk, number
  }'
}
buffered() { lines $1 $2 | dd of=/dev/$disk bs=${LINE_BYTES} seek=$1 status=none $3; }
direct() {
  lines $1 $2 | dd of=/dev/$disk bs=64k seek=$(($1 / 4096)) iflag=fullblock oflag=direct status=none
}

for disk in ${DISKS.join(' ')}; do
  check $disk-direct direct ${DIRECT.join(' ')}
  host direct-$disk
  check $disk-buffered buffered ${BUFFERED.join(' ')}
done
check sync sync
host synced
for disk in ${DISKS.join(' ')}; do
  check $disk-zero blkdiscard -z -o ${DIRECT[0] * LINE_BYTES} -l 65536 /dev/$disk
  check $disk-later buffered ${LATER.join(' ')} conv=fsync
done
`;

/** What the guest's shell function `lines` makes. */
function lines(disk: string, first: number, count: number): string {
  const numbers = Array.from({ length: count }, (_, index) => first + index);
  return numbers.map((number) => `${disk} ${String(number).padStart(11, '0')}\n`).join('');
}

function assertLines(image: DiskImage, disk: string, [first, count]: readonly number[]): void {
  const found = image.read(first * LINE_BYTES, count * LINE_BYTES).toString('latin1');
  assert.equal(found, lines(disk, first, count));
}

function assertZeros(image: DiskImage, firstLine: number, endLine: number): void {
  const bytes = image.read(firstLine * LINE_BYTES, (endLine - firstLine) * LINE_BYTES);
  assert.ok(bytes.length > 0 && bytes.every((byte) => byte === 0));
}

test('what the guest has synced is in the image while it runs', { skip }, async (t) => {
  const images = MODES.map(() => new DiskImage(DISK_BYTES));
  t.after(() => images.map((image) => image[Symbol.dispose]()));
  const servers = await Promise.all(
    images.map(({ path }, at) => VmServer.start(`--blk-file=${path}`, `--cache=${MODES[at]}`)),
  );
  t.after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  const byDisk = DISKS.map((disk, at) => ({ disk, image: images[at] }));

  const direct = byDisk.map(({ disk, image }) => {
    const step = async (): Promise<void> => assertLines(image, disk, DIRECT);
    return [`direct-${disk}`, step] as const;
  });
  const synced = async (): Promise<void> => {
    for (const { disk, image } of byDisk) {
      assertZeros(image, 0, BUFFERED[0]);
      assertLines(image, disk, BUFFERED);
      assertZeros(image, BUFFERED[0] + BUFFERED[1], DIRECT[0]);
      assertZeros(image, DIRECT[0] + DIRECT[1], DISK_BYTES / LINE_BYTES);
    }
  };
  const report = await bootGuest({
    disks: servers.map(({ socketPath }) => ({ socketPath, numQueues: 1 })),
    script: SCRIPT,
    hostSteps: { ...Object.fromEntries(direct), synced },
    signal: t.signal,
  });
  const steps = ['direct', 'buffered', 'zero', 'later'];
  const checks = DISKS.flatMap((disk) => steps.map((step) => `${disk}-${step}`));
  assertChecks(report, [...checks, 'sync']);

  for (const server of servers) await server.stop();
  for (const { disk, image } of byDisk) {
    assertZeros(image, DIRECT[0], DIRECT[0] + 4096);
    assertLines(image, disk, [DIRECT[0] + 4096, DIRECT[1] - 4096]);
    assertLines(image, disk, LATER);
  }
  // Write-through has nothing to flush.
  const flushed = servers.map((server) => (server.counted().flushes ?? 0) > 0);
  assert.deepEqual(flushed, [true, true, false]);
});
