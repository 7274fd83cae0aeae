/**
 * The host's side of a guest's disk: a raw image, and what can be said of it without mounting it.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../tools/guest/programs.ts';

const STAT_BLOCK_BYTES = 512;

/** An image in a folder of its own, which goes with it. */
export class DiskImage implements Disposable {
  readonly folder: string;
  readonly path: string;

  /** All holes. */
  constructor(sizeBytes: number) {
    this.folder = mkdtempSync(join(tmpdir(), 'vm-image-'));
    this.path = join(this.folder, 'disk.img');
    writeFileSync(this.path, '');
    truncateSync(this.path, sizeBytes);
  }

  /** What the image takes up on the host. */
  get allocatedBytes(): number {
    return statSync(this.path).blocks * STAT_BLOCK_BYTES;
  }

  /** The bytes at some place. */
  read(offsetBytes: number, sizeBytes: number): Buffer {
    const fd = openSync(this.path, 'r');
    const bytes = Buffer.alloc(sizeBytes);
    try {
      return bytes.subarray(0, readSync(fd, bytes, 0, sizeBytes, offsetBytes));
    } finally {
      closeSync(fd);
    }
  }

  /** Have all that was written to it on stable storage. */
  sync(): void {
    const fd = openSync(this.path, 'r');
    fsyncSync(fd);
    closeSync(fd);
  }

  /** Of the whole image, as sha256sum has it. */
  get sha256(): string {
    return sha256(readFileSync(this.path));
  }

  /** Make a file system with the files of a folder in it. */
  makeExt4(contents: string): void {
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', contents, this.path]);
  }

  /** Throws unless the file system is whole and was unmounted; changes nothing. */
  assertCleanExt4(): void {
    run('e2fsck', ['-fn', this.path]);
  }

  /** A file out of the file system. */
  ext4File(path: string): Buffer {
    const copy = join(this.folder, 'dumped');
    run('debugfs', ['-R', `dump ${path} ${copy}`, this.path]);
    return readFileSync(copy);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** As sha256sum prints it. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Run a program of the host that has to succeed; its output becomes part of the error. */
export function run(program: string, args: readonly string[]): string {
  return execFileSync(findProgram(program) ?? program, args, { stdio: 'pipe' }).toString();
}
