/** A disk grows and shrinks while a guest uses it. */
import assert from 'node:assert/strict';
import { statSync, truncateSync } from 'node:fs';
import { test } from 'node:test';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const BEFORE = 64 * MIB;
const LARGER = 96 * MIB;
const skip = guestRequirements() ?? false;

const SCRIPT = `
has_sectors() {
  for try in $(seq 100); do
    test "$(cat /sys/block/vda/size)" = "$1" && return
    sleep 0.1
  done
  cat /sys/block/vda/size
  return 1
}
fails() { ! "$@"; }

check mkfs mkfs.ext4 -q /dev/vda 32M
check mount mount -t ext4 /dev/vda /mnt
check add sh -c 'seq 1 10000 >/mnt/file'
host grow
check larger has_sectors ${LARGER / 512}
check write-end dd if=/dev/urandom of=/dev/vda bs=4k count=1 seek=${LARGER / 4096 - 1} oflag=direct
host shrink
check smaller has_sectors ${BEFORE / 512}
check no-write fails dd if=/dev/urandom of=/dev/vda bs=4k count=1 seek=${BEFORE / 4096} oflag=direct
check kept sh -c 'seq 1 10000 | cmp - /mnt/file'
check umount umount /mnt
`;

const CHECKS = 'mkfs mount add larger write-end smaller no-write kept umount'.split(' ');

test('a guest sees a disk grow and shrink', { skip }, async (t) => {
  using image = new DiskImage(BEFORE);
  await using server = await VmServer.start(`--blk-file=${image.path}`);
  const resize = async (sizeBytes: number): Promise<void> => {
    truncateSync(image.path, sizeBytes);
    server.signal('SIGHUP');
    await server.said(new RegExp(`SIGHUP: the disk has ${sizeBytes} bytes`));
  };
  const report = await bootGuest({
    disks: [{ socketPath: server.socketPath }],
    script: SCRIPT,
    hostSteps: { grow: () => resize(LARGER), shrink: () => resize(BEFORE) },
    signal: t.signal,
  });
  assertChecks(report, CHECKS);
  await server.stop();
  assert.equal(statSync(image.path).size, BEFORE);
});
