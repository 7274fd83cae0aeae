/**
 * The guest's root: busybox for the small tools, and the host's own programs for what is to be
 * tested with, together with their shared libraries.
 *
 * The root is an initramfs, so that the disks under test are the guest's only block devices. It
 * has two layers: fio comes with 80 MB of libraries and is left out of boots that do without it.
 * Layers are not compressed: unpacking costs the guest's emulated processor more than copying.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import type { CpioEntry } from './cpio.ts';
import type { KernelModule } from './modules.ts';
import { findProgram, GuestAssetsError, requireProgram, runProgram } from './programs.ts';

/** A program of the host to copy, and the Debian package that has it. */
interface HostTool {
  readonly name: string;
  readonly debianPackage: string;
  /** Further names under which the program does other things. */
  readonly aliases?: readonly string[];
}

/**
 * Programs of the base layer. The shell is the host's because busybox's own prefers its applets
 * (mke2fs, fstrim, blkdiscard, ...) to the programs in PATH, and those lack options.
 */
const BASE_TOOLS: readonly HostTool[] = [
  { name: 'sh', debianPackage: 'dash' },
  { name: 'mke2fs', debianPackage: 'e2fsprogs', aliases: ['mkfs.ext4'] },
  { name: 'e2fsck', debianPackage: 'e2fsprogs', aliases: ['fsck.ext4'] },
  { name: 'resize2fs', debianPackage: 'e2fsprogs' },
  { name: 'fstrim', debianPackage: 'util-linux' },
  { name: 'blkdiscard', debianPackage: 'util-linux' },
  { name: 'blockdev', debianPackage: 'util-linux' },
  { name: 'dd', debianPackage: 'coreutils' },
  { name: 'timeout', debianPackage: 'coreutils' },
];

const FIO_TOOLS: readonly HostTool[] = [{ name: 'fio', debianPackage: 'fio' }];

/** Configuration without which a program behaves otherwise than on the host. */
const HOST_FILES = ['/etc/mke2fs.conf'];

/** Where the guest's list of modules to load is; one path a line, in order. */
export const MODULE_LIST = '/lib/modules/load-order';

/** Busybox, the file system tools, the kernel modules, and what init expects to exist. */
export function baseLayer(modules: readonly KernelModule[]): CpioEntry[] {
  const folders = ['/dev', '/proc', '/sys', '/tmp', '/mnt', '/guest'];
  return [
    ...folders.map((path): CpioEntry => ({ kind: 'folder', path })),
    // The kernel opens this for init before anything could mount a devtmpfs.
    { kind: 'device', path: '/dev/console', major: 5, minor: 1 },
    ...busybox(),
    ...BASE_TOOLS.flatMap(hostTool),
    ...HOST_FILES.filter(isFile).map((path) => copy(path, path)),
    ...moduleFiles(modules),
  ];
}

/** fio and its libraries, without what the base layer has. */
export function fioLayer(base: readonly CpioEntry[]): CpioEntry[] {
  const present = new Set(base.map(({ path }) => path));
  return FIO_TOOLS.flatMap(hostTool).filter(({ path }) => !present.has(path));
}

/** The first program that is missing, as an install line; undefined if none is. */
export function missingTool(): string | undefined {
  for (const { name, debianPackage } of [...BASE_TOOLS, ...FIO_TOOLS]) {
    if (findProgram(name) === undefined) {
      return `${name} is missing; install it: apt-get install ${debianPackage}`;
    }
  }
  return undefined;
}

function busybox(): CpioEntry[] {
  const path = requireProgram('busybox', 'busybox-static');
  const applets = runProgram(path, ['--list']).toString().split('\n');
  return [
    ...withLibraries(path, '/bin/busybox'),
    ...applets
      .filter((name) => name !== '' && name !== 'busybox' && name !== 'sh')
      .map((name): CpioEntry => ({ kind: 'link', path: `/bin/${name}`, target: 'busybox' })),
  ];
}

/** Tools lie in /usr/bin, which comes before busybox's applets in the guest's PATH. */
function hostTool({ name, debianPackage, aliases = [] }: HostTool): CpioEntry[] {
  const path = requireProgram(name, debianPackage);
  // Scripts start with #!/bin/sh.
  const target = name === 'sh' ? '/bin/sh' : `/usr/bin/${name}`;
  return [
    ...withLibraries(path, target),
    ...aliases.map(
      (alias): CpioEntry => ({ kind: 'link', path: `/usr/bin/${alias}`, target: name }),
    ),
  ];
}

function withLibraries(path: string, target: string): CpioEntry[] {
  return [copy(path, target), ...librariesOf(path).map((library) => copy(library, library))];
}

/** A program's shared libraries and ELF interpreter, under the names they are looked for. */
function librariesOf(path: string): string[] {
  let listed: string;
  try {
    listed = runProgram(requireProgram('ldd', 'libc-bin'), [path]).toString();
  } catch (error) {
    if (isStatic(error)) return [];
    throw error;
  }
  const missing = listed.split('\n').find((line) => line.includes('not found'));
  if (missing !== undefined) throw new GuestAssetsError(`${path} does not run: ${missing.trim()}`);
  // `libc.so.6 => /lib/... (0x...)` or `/lib64/ld-linux-x86-64.so.2 (0x...)`.
  return [...listed.matchAll(/(?:^\s*|=> )(\/\S+) \(0x/gm)].map((match) => String(match[1]));
}

/** ldd fails on a static program, and says why on its standard error. */
function isStatic(error: unknown): boolean {
  return error instanceof GuestAssetsError && error.message.includes('not a dynamic executable');
}

function copy(source: string, target: string): CpioEntry {
  return { kind: 'file', path: target, data: readFileSync(realpathSync(source)), mode: 0o755 };
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function moduleFiles(modules: readonly KernelModule[]): CpioEntry[] {
  const files = modules.map(
    ({ name, data }): CpioEntry => ({
      kind: 'file',
      path: `/lib/modules/${name}.ko`,
      data,
      mode: 0o644,
    }),
  );
  const list = Buffer.from(files.map(({ path }) => `${path}\n`).join(''));
  return [...files, { kind: 'file', path: MODULE_LIST, data: list, mode: 0o644 }];
}
