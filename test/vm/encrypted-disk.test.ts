/**
 * A guest on encrypted disks, LUKS1 and LUKS2: fio verifies what it writes, a file system survives,
 * and what is in the containers is what the guest has written, as others see it.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { encrypt, file, openAccess, openDisk } from '../../src/storage/index.ts';
import { luksImage, PASSPHRASE } from '../support/luks-image.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 2 ** 20;
const DATA_BYTES = 32 * MIB;

const skip = guestRequirements() ?? false;

const CONTAINERS = [
  { version: 1 },
  { version: 2, sectorBytes: 512 },
  { version: 2, sectorBytes: 4096 },
] as const;
const DISKS = ['vda', 'vdb', 'vdc'];

/** Odd sizes where the disk's blocks allow them; then a file system, and zeros. */
const SCRIPT = `
sizes() { test $(cat /sys/block/$1/queue/logical_block_size) = 512 && echo 512/20:; }
verify() {
  fio --name=$1 --filename=/dev/$1 --direct=1 --ioengine=libaio --iodepth=32 --size=8M \\
    --rw=randwrite --bssplit=$(sizes $1)4k/40:64k/20:512k/20 --verify=crc32c --verify_fatal=1
}
file_system() {
  mkfs.ext4 -q /dev/$1 && mount /dev/$1 /mnt && seq 1 200000 >/mnt/numbers &&
    umount /mnt && mount /dev/$1 /mnt && seq 1 200000 | cmp - /mnt/numbers && umount /mnt
}
zeroed() {
  blkdiscard -z -o 0 -l 4194304 /dev/$1 &&
    test $(dd if=/dev/$1 bs=1M count=4 status=none | tr -d '\\0' | wc -c) -eq 0
}
for disk in ${DISKS.join(' ')}; do
  check $disk-fio verify $disk
  check $disk-zeroed zeroed $disk
  check $disk-files file_system $disk
done
`;

test('a guest on encrypted disks', { skip }, async (t) => {
  const images = await Promise.all(CONTAINERS.map((each) => luksImage(t, DATA_BYTES, each)));
  const servers = await Promise.all(
    images.map(({ path }) => {
      writeFileSync(`${path}.key`, PASSPHRASE);
      return VmServer.start(`--disk=encrypt(file(${path}), passphrase-file=${path}.key)`);
    }),
  );
  t.after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  const report = await bootGuest({
    disks: servers.map(({ socketPath }) => ({ socketPath, numQueues: 1 })),
    fio: true,
    script: SCRIPT,
    signal: t.signal,
    timeoutMs: 240_000,
  });
  const checks = ['fio', 'zeroed', 'files'];
  assertChecks(
    report,
    DISKS.flatMap((disk) => checks.map((check) => `${disk}-${check}`)),
  );
  for (const server of servers) await server.stop();
  for (const { path } of images) {
    using plain = new DiskImage(DATA_BYTES);
    writeFileSync(plain.path, await decrypted(path));
    plain.assertCleanExt4();
    assert.match(plain.ext4File('/numbers').toString(), /^1\n2\n/);
    assert.ok(!readFileSync(join(path)).includes('199998\n199999\n200000\n'));
  }
});

async function decrypted(path: string): Promise<Buffer> {
  const disk = await openDisk(encrypt(file(path), { passphrase: PASSPHRASE }));
  const access = openAccess(disk);
  const found = Buffer.alloc(disk.info.sizeBytes);
  await access.read(found, 0);
  access.close();
  await disk.close();
  return found;
}
