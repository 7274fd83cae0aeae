/** A root file system in an image, small enough to be made for a test: busybox and an init. */
import { copyFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireProgram, runProgram } from '../../tools/guest/programs.ts';

/** Script of a guest that goes on from the root on a block device. */
export function goOnFrom(device: string): string {
  return `
    check mount-root mount -t ext4 ${device} /mnt
    for each in proc sys dev; do mount --move /$each /mnt/$each; done
    touch /guest/switch-root
  `;
}

/**
 * Make an ext4 image. @param init - shell script of process 1: standard error's neighbour, descriptor
 * 3, is the report's port (`ok NAME`, `fact NAME VALUE`, at the end `exit 0`); the rest is added.
 */
export function makeRootImage(path: string, sizeBytes: number, folder: string, init: string): void {
  const root = join(folder, 'root');
  for (const each of ['bin', 'sbin', 'proc', 'sys', 'dev', 'tmp']) {
    mkdirSync(join(root, each), { recursive: true });
  }
  copyFileSync(requireProgram('busybox', 'busybox-static'), join(root, 'bin/busybox'));
  symlinkSync('busybox', join(root, 'bin/sh'));
  const script = `#!/bin/sh\nexport PATH=/bin\nbusybox --install -s /bin\n${init}\nsync\nmount -o remount,ro /\necho "exit 0" >&3\nexec 3>&-\npoweroff -f\n`;
  writeFileSync(join(root, 'sbin/init'), script, { mode: 0o755 });
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  runProgram('mkfs.ext4', ['-q', '-F', '-d', root, path]);
}
