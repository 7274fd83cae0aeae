/**
 * File systems and block devices for tests, made on the spot by root and taken away again.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CleanUp } from './image-folder.ts';

const LOOP_CONTROL = '/dev/loop-control';

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return stdout.trim();
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

let mountRefusal: string | false | undefined;

/** Why nothing can be mounted here, for a test's `skip`; false if it can. */
export function cannotMount(): string | false {
  mountRefusal ??= probeMount();
  return mountRefusal;
}

function probeMount(): string | false {
  if (!isRoot()) return 'mounting takes root: run the tests with sudo';
  const cleanUps: (() => void)[] = [];
  try {
    smallTmpfs({ after: (clean) => cleanUps.push(clean) }, 65536);
    return false;
  } catch (error) {
    return `mounting is forbidden here: ${String(error)}`;
  } finally {
    for (const clean of cleanUps) clean();
  }
}

/** A tmpfs of a given size. Returns its folder. */
export function smallTmpfs(t: CleanUp, sizeBytes: number): string {
  return mounted(t, '-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs');
}

/** A new ext4 on a block device or in a file. Returns its folder. */
export function ext4On(t: CleanUp, source: string): string {
  run('mkfs.ext4', '-q', '-F', source);
  return mounted(t, ...(source.startsWith('/dev/') ? [] : ['-o', 'loop']), source);
}

function mounted(t: CleanUp, ...args: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'vhostkit-mount-'));
  try {
    run('mount', ...args, folder);
  } catch (error) {
    rmdirSync(folder);
    throw error;
  }
  t.after(() => {
    // Lazily: a loop device over a file there may still be attached.
    run('umount', '--lazy', folder);
    rmdirSync(folder);
  });
  return folder;
}

/** Why there can be no loop devices here, for a test's `skip`; false if there can. */
export function cannotLoop(): string | false {
  if (!isRoot()) return 'loop devices take root: run the tests with sudo';
  if (!existsSync(LOOP_CONTROL)) return 'no loop devices: modprobe loop';
  const { error } = spawnSync('losetup', ['--version']);
  if (error !== undefined) return 'losetup is missing; install it: apt-get install mount';
  return false;
}

export interface LoopOptions {
  readonly sectorBytes?: number;
  /** Past the page cache of the backing file. */
  readonly directIo?: boolean;
  readonly readOnly?: boolean;
}

/** A block device over a file. */
export interface LoopDevice {
  readonly path: string;
  /** The device is gone once nobody else has it open either. */
  release(): void;
}

/**
 * Attach a loop device to a file. The kernel detaches it on its last close: of what a test leaves
 * behind, however it ends, that is no part.
 */
export function attachLoop(imagePath: string, options: LoopOptions = {}): LoopDevice {
  const { sectorBytes = 512, directIo = false, readOnly = false } = options;
  const settings = [`--sector-size=${sectorBytes}`, `--direct-io=${directIo ? 'on' : 'off'}`];
  if (readOnly) settings.push('--read-only');
  const path = run('losetup', '--find', '--show', ...settings, imagePath);
  try {
    const fd = openSync(path, 'r');
    return { path, release: () => closeSync(fd) };
  } finally {
    run('losetup', '--detach', path);
  }
}

/** A loop device over a file, until the test ends. Returns its path. */
export function loopDevice(t: CleanUp, imagePath: string, options?: LoopOptions): string {
  const { path, release } = attachLoop(imagePath, options);
  t.after(release);
  return path;
}

/** Have a loop device notice that its backing file has another size. */
export function resizeLoop(path: string): void {
  run('losetup', '--set-capacity', path);
}

/** Loop devices that are attached to a file. */
export function loopsOf(imagePath: string): string[] {
  const lines = run('losetup', '--associated', imagePath);
  return lines === '' ? [] : lines.split('\n');
}
