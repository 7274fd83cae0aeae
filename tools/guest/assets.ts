/**
 * Everything a guest boots from, made once and kept in the cache: a kernel, the layers of its root,
 * and a boot loader for images that machines boot by their firmware. Making needs apt and a network
 * for the kernel and the boot loader; using needs neither.
 *
 * All of it is synchronous: tests ask for the assets while they are being defined, to decide
 * whether they have to be skipped.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { extractVmlinux } from './bzimage.ts';
import { type CpioEntry, cpioArchive } from './cpio.ts';
import { downloadKernel, type UnpackedKernel, unpackKernel } from './kernel.ts';
import { collectModules } from './modules.ts';
import { downloadPackage, unpackPackage } from './packages.ts';
import { GuestAssetsError } from './programs.ts';
import { baseLayer, fioLayer, missingTool } from './root-layers.ts';
import { guestCache } from './workspace.ts';

/** Raise this when assets made by older sources don't serve the present ones. */
const REVISION = 2;

/** Modules loaded at boot; what they depend on comes along. */
const GUEST_MODULES = ['virtio_blk'];

/** The package of the boot loader, and the loader in it: an EFI program for x86-64. */
const BOOT_LOADER_PACKAGE = 'systemd-boot-efi';
const BOOT_LOADER_PATH = 'usr/lib/systemd/boot/efi/systemd-bootx64.efi';

/** The files a guest boots from. */
export interface GuestAssets {
  /** As `uname -r` shows it. */
  readonly release: string;
  /** vmlinux, or the bzImage where it could not be extracted; QEMU's `-kernel`. */
  readonly kernelPath: string;
  /** The bzImage, which is an EFI program, too. */
  readonly kernelImagePath: string;
  /** systemd-boot, the EFI program that finds the kernel by /loader on its partition. */
  readonly bootLoaderPath: string;
  /** cpio archive with busybox, the file system tools and the kernel modules. */
  readonly baseLayerPath: string;
  /** cpio archive with fio, to put behind the base layer. */
  readonly fioLayerPath: string;
}

/** How to make the assets. */
export interface AssetsOptions {
  /** Make them again, from the newest kernel, even if there are some; default false. */
  readonly rebuild?: boolean;
  /** Gets a line on each step; default: silent. */
  readonly log?: (line: string) => void;
}

/**
 * The assets, made first if there are none. A `GuestAssetsError` says in one line what is missing.
 * Processes may do this at the same time: each builds in a folder of its own, the first to rename
 * it wins.
 */
export function ensureGuestAssets(options: AssetsOptions = {}): GuestAssets {
  const folder = join(guestCache(), `assets-${REVISION}`);
  const log = options.log ?? (() => {});
  if (!options.rebuild && existsSync(folder)) return readAssets(folder);
  const missing = missingTool();
  if (missing !== undefined) throw new GuestAssetsError(missing);
  mkdirSync(guestCache(), { recursive: true });
  const building = mkdtempSync(join(guestCache(), 'building-'));
  try {
    buildAssets(building, log);
    // Made for its owner only; assets may well be shared.
    chmodSync(building, 0o755);
    // A rename does not replace a folder with files in it.
    if (options.rebuild) rmSync(folder, { recursive: true, force: true });
    publish(building, folder);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  log(`made ${folder}`);
  return readAssets(folder);
}

function publish(building: string, folder: string): void {
  try {
    renameSync(building, folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Another process was faster; its assets are as good as ours.
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

function readAssets(folder: string): GuestAssets {
  const { release } = JSON.parse(readFileSync(join(folder, 'assets.json'), 'utf8')) as {
    release: string;
  };
  return {
    release,
    kernelPath: join(folder, 'kernel'),
    kernelImagePath: join(folder, 'vmlinuz'),
    bootLoaderPath: join(folder, 'boot-loader.efi'),
    baseLayerPath: join(folder, 'base.cpio'),
    fioLayerPath: join(folder, 'fio.cpio'),
  };
}

function buildAssets(folder: string, log: (line: string) => void): void {
  const packages = join(guestCache(), 'packages');
  const deb = downloadKernel(packages, log);
  log(`unpacking ${deb}`);
  const unpacked = join(folder, 'unpacked');
  const kernel = unpackKernel(deb, unpacked);
  save(folder, 'kernel', kernelImage(kernel, log), log);
  save(folder, 'vmlinuz', readFileSync(kernel.imagePath), log);
  save(folder, 'boot-loader.efi', bootLoader(packages, unpacked, log), log);
  const modules = collectModules(kernel.modulesPath, GUEST_MODULES);
  log(`modules: ${modules.map(({ name }) => name).join(' ')}`);
  rmSync(unpacked, { recursive: true });

  const base = baseLayer(modules);
  saveLayer(folder, 'base.cpio', base, log);
  saveLayer(folder, 'fio.cpio', fioLayer(base), log);
  save(folder, 'assets.json', Buffer.from(JSON.stringify({ release: kernel.release })), log);
}

function bootLoader(packages: string, unpacked: string, log: (line: string) => void): Buffer {
  const deb = downloadPackage(BOOT_LOADER_PACKAGE, packages, log);
  unpackPackage(deb, unpacked);
  const path = join(unpacked, BOOT_LOADER_PATH);
  if (!existsSync(path)) throw new GuestAssetsError(`${deb} holds no ${BOOT_LOADER_PATH}`);
  return readFileSync(path);
}

/** vmlinux if it can be had; booting the bzImage works too, but takes some seconds longer. */
function kernelImage(kernel: UnpackedKernel, log: (line: string) => void): Buffer {
  const image = readFileSync(kernel.imagePath);
  try {
    return extractVmlinux(image);
  } catch (error) {
    if (!(error instanceof GuestAssetsError)) throw error;
    log(`using the bzImage as it is: ${error.message}`);
    return image;
  }
}

function saveLayer(
  folder: string,
  name: string,
  entries: readonly CpioEntry[],
  log: (line: string) => void,
): void {
  save(folder, name, cpioArchive(entries), log);
}

function save(folder: string, name: string, data: Buffer, log: (line: string) => void): void {
  writeFileSync(join(folder, name), data);
  log(`${name}: ${(data.length / 1e6).toFixed(1)} MB`);
}
