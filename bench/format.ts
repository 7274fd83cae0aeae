/** What may be in an image besides a disk's bytes: how it is made, and named to each server. */
import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { file } from '../src/storage/index.ts';
import { formatLuks } from '../src/storage/tools.ts';

/** See the module's comment. */
export interface ImageFormat {
  /** Bytes of an image that are not the disk's. */
  readonly overheadBytes: number;
  /** Make an image of that format, as large as it was. */
  make(path: string): Promise<void>;
  /** As our server has it. */
  disk(path: string): string;
  /** What makes it the node `disk` over the node `file`, for qemu-storage-daemon. */
  daemonArguments(path: string): readonly string[];
}

/** LUKS1, which qemu-storage-daemon has, too. */
export const LUKS: ImageFormat = {
  overheadBytes: 2 * 2 ** 20,
  async make(path) {
    const passphrase = 'bench';
    writeFileSync(keyPath(path), passphrase);
    await formatLuks(file(path), { version: 1, passphrase, iterations: 1000 });
  },
  disk: (path) => `encrypt(file(${path}),passphrase-file=${keyPath(path)})`,
  daemonArguments: (path) => [
    ...['--object', `secret,id=key,file=${keyPath(path)}`],
    ...['--blockdev', 'driver=luks,node-name=disk,key-secret=key,file=file'],
  ],
};

function keyPath(path: string): string {
  return `${path}.key`;
}

/** All clusters are there: what is measured is finding them. */
export const QCOW2: ImageFormat = {
  overheadBytes: 0,
  async make(path) {
    const raw = `${path}.raw`;
    renameSync(path, raw);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
    rmSync(raw);
  },
  disk: (path) => `qcow2(file(${path}))`,
  daemonArguments: () => ['--blockdev', 'driver=qcow2,node-name=disk,file=file'],
};
