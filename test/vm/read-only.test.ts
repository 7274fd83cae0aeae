/**
 * A read-only disk: a guest mounts it and reads everything, and nothing it tries changes the image,
 * which several servers may share.
 */
import assert from 'node:assert/strict';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingEngine } from '../support/reactors.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage, sha256 } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? missingEngine('io_uring') ?? false;

const CONTENTS = Buffer.from(Array.from({ length: 3 * MIB }, (_, at) => (at * at) >> 7));

const SCRIPT = `
is_read_only() { test "$(blockdev --getro /dev/$1)" -eq 1; }
fails() { ! "$@"; }
has_file() { test "$(sha256sum </mnt/data)" = "$2  -"; }

for disk in vda vdb; do
  check $disk-flag is_read_only $disk
  check $disk-mount mount -t ext4 -o ro /dev/$disk /mnt
  check $disk-file has_file $disk ${sha256(CONTENTS)}
  check $disk-no-file fails touch /mnt/new
  check $disk-no-remount fails mount -o remount,rw /mnt
  check $disk-umount umount /mnt
  # Though told otherwise by the one who should know.
  blockdev --setrw /dev/$disk
  check $disk-no-write fails dd if=/dev/urandom of=/dev/$disk bs=4k count=1 oflag=direct
  check $disk-no-discard fails blkdiscard /dev/$disk
  check $disk-no-zeroes fails blkdiscard -z /dev/$disk
  check $disk-no-mkfs fails mkfs.ext4 -q -F /dev/$disk
done
`;

const CHECKS = 'flag mount file no-file no-remount umount no-write no-discard no-zeroes no-mkfs';

test('a read-only disk is read and never changed', { skip }, async (t) => {
  using image = new DiskImage(32 * MIB);
  const contents = join(image.folder, 'contents');
  mkdirSync(contents);
  writeFileSync(join(contents, 'data'), CONTENTS);
  image.makeExt4(contents);
  const before = { sha256: image.sha256, mtimeMs: statSync(image.path).mtimeMs };
  const options = [`--blk-file=${image.path}`, '--read-only'];
  await using first = await VmServer.start(...options, '--engine=io_uring');
  await using second = await VmServer.start(...options, '--engine=epoll');
  const report = await bootGuest({
    disks: [first, second].map(({ socketPath }) => ({ socketPath })),
    script: SCRIPT,
    signal: t.signal,
  });
  assertChecks(
    report,
    ['vda', 'vdb'].flatMap((disk) => CHECKS.split(' ').map((name) => `${disk}-${name}`)),
  );
  for (const server of [first, second]) {
    await server.stop();
    assert.ok((server.counted().readBytes ?? 0) > CONTENTS.length);
    assert.equal(server.counted().writes, undefined);
  }
  const after = { sha256: image.sha256, mtimeMs: statSync(image.path).mtimeMs };
  assert.deepEqual(after, before);
});
