/**
 * An ISO image that machines boot by their UEFI firmware, as installers and live systems are handed
 * out:
 *
 *     ISO 9660, whose boot catalogue (El Torito) names partition 2, and a partition table (GPT)
 *     partition 2: EFI system partition (FAT): boot loader, its configuration, kernel, initrd
 *     partition 3: the guest's root
 *
 * With an MBR in place of the GPT, OVMF 2022.11 finds no file system on a virtio disk.
 */
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { requireProgram, runProgram } from '../../tools/guest/programs.ts';
import { ensureGuestAssets } from '../../tools/guest-assets.ts';
import { type GuestTask, kernelCommandLine } from './guest-options.ts';
import { initrdLayers } from './guest-script.ts';

/** The root's partition in the guest, if the image is the first disk. */
export const ROOT_PARTITION = '/dev/vda3';

/** Kernel and initrd are 19 MB; with much more the copy fails and says so. */
const SYSTEM_PARTITION_BYTES = 32 * 2 ** 20;

/** What such an image has in it. */
export interface BootImage {
  /** Where it is to be made. */
  readonly path: string;
  /** The content of partition 3. */
  readonly rootPath: string;
  /** What the initrd does. */
  readonly task: GuestTask;
  /** For files on the way to the image; must be empty. */
  readonly workFolder: string;
}

/** Make the image. @returns what a boot reads at least, in bytes: loader, kernel and initrd. */
export function makeBootImage({ path, rootPath, task, workFolder }: BootImage): number {
  const assets = ensureGuestAssets();
  const initrd = Buffer.concat(initrdLayers(task, assets));
  const tree = join(workFolder, 'system');
  mkdirSync(join(tree, 'EFI/BOOT'), { recursive: true });
  mkdirSync(join(tree, 'loader/entries'), { recursive: true });
  // Firmware starts the program of this name on disks that it knows nothing about (UEFI 3.5.1.1).
  copyFileSync(assets.bootLoaderPath, join(tree, 'EFI/BOOT/BOOTX64.EFI'));
  copyFileSync(assets.kernelImagePath, join(tree, 'vmlinuz'));
  writeFileSync(join(tree, 'initrd'), initrd);
  const entry = ['title Guest', 'linux /vmlinuz', 'initrd /initrd'];
  entry.push(`options ${kernelCommandLine(task)}`, '');
  writeFileSync(join(tree, 'loader/entries/guest.conf'), entry.join('\n'));
  const partition = join(workFolder, 'system.img');
  makeFat(partition, SYSTEM_PARTITION_BYTES, tree);
  const iso = join(workFolder, 'iso');
  mkdirSync(iso);
  runProgram(requireProgram('xorriso', 'xorriso'), [
    ...['-as', 'mkisofs', '-quiet', '-volid', 'GUEST', '-output', path],
    ...['-append_partition', '2', '0xef', partition, '-append_partition', '3', '0x83', rootPath],
    ...['-appended_part_as_gpt', '-e', '--interval:appended_partition_2:all::', '-no-emul-boot'],
    iso,
  ]);
  return [assets.bootLoaderPath, assets.kernelImagePath].reduce(
    (sum, file) => sum + statSync(file).size,
    initrd.length,
  );
}

/** A FAT file system in a file of its own, without being mounted. */
function makeFat(path: string, sizeBytes: number, tree: string): void {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  runProgram(requireProgram('mformat', 'mtools'), ['-i', path, '::']);
  const entries = readdirSync(tree).map((name) => join(tree, name));
  runProgram(requireProgram('mcopy', 'mtools'), ['-s', '-i', path, ...entries, '::/']);
}
