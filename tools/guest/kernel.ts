/**
 * A Debian kernel for guests: found with apt, downloaded and unpacked, never installed.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { downloadPackage, unpackPackage } from './packages.ts';
import { findProgram, GuestAssetsError, runProgram } from './programs.ts';

/**
 * The series of long-term kernels to take. Older ones lack ublk and VDUSE; the cloud flavour is a
 * third of the size of the generic one and has virtio.
 */
const KERNEL_SERIES = '6.12';

const PACKAGE_PATTERN = /^linux-image-6\.12\.(\d+)\+deb\d+-cloud-amd64$/;

/** An unpacked kernel package. */
export interface UnpackedKernel {
  /** As `uname -r` shows it. */
  readonly release: string;
  /** The bzImage. */
  readonly imagePath: string;
  /** The folder that holds `modules.order` and `kernel/`. */
  readonly modulesPath: string;
}

/** The newest of some package names that are kernels of our series and flavour, if any is. */
export function newestKernel(packages: readonly string[]): string | undefined {
  const patch = (name: string): number => Number(PACKAGE_PATTERN.exec(name)?.[1] ?? -1);
  return packages
    .filter((name) => PACKAGE_PATTERN.test(name))
    .sort((a, b) => patch(a) - patch(b))
    .at(-1);
}

/**
 * Download the newest kernel package into a folder unless it is there already.
 *
 * @returns the path of the .deb file.
 */
export function downloadKernel(folder: string, log: (line: string) => void): string {
  const aptCache = findProgram('apt-cache');
  if (aptCache === undefined) {
    throw new GuestAssetsError('the guest kernel is a Debian package, but apt-cache is missing');
  }
  const listed = runProgram(aptCache, ['pkgnames', `linux-image-${KERNEL_SERIES}.`]).toString();
  const name = newestKernel(listed.split('\n'));
  if (name === undefined) {
    throw new GuestAssetsError(
      `apt knows no linux-image-${KERNEL_SERIES}.*-cloud-amd64; run apt-get update ` +
        '(Debian 12 has it in bookworm-security)',
    );
  }
  return downloadPackage(name, folder, log);
}

/** Unpack a kernel package into a folder. */
export function unpackKernel(debPath: string, folder: string): UnpackedKernel {
  unpackPackage(debPath, folder);
  const modulesParent = ['lib/modules', 'usr/lib/modules']
    .map((path) => join(folder, path))
    .find((path) => existsSync(path));
  const release = modulesParent === undefined ? undefined : readdirSync(modulesParent)[0];
  if (modulesParent === undefined || release === undefined) {
    throw new GuestAssetsError(`${debPath} holds no kernel modules`);
  }
  const imagePath = join(folder, 'boot', `vmlinuz-${release}`);
  if (!existsSync(imagePath)) throw new GuestAssetsError(`${debPath} holds no ${imagePath}`);
  return { release, imagePath, modulesPath: join(modulesParent, release) };
}
