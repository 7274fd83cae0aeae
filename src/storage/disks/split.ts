/** The kind `split`: one disk in files of a fixed size, `path.000`, `path.001` and so on. */
import { closeSync, ftruncateSync, openSync, rmSync, statSync } from 'node:fs';
import { errnoMessage } from '../../sys/index.ts';
import { StorageError } from '../errors.ts';
import type { FileDisk } from '../file/file-disk.ts';
import { openFileDisk } from '../file/open-file-disk.ts';
import { type DiskKind, DiskPlan, type OpenOptions } from '../plan/disk-kind.ts';
import { diskBytes, text } from '../plan/parameter-types.ts';
import { JoinedDisk } from './joined-disk.ts';

/** Each is two open files, and one more for each thread. */
const MAX_PIECES = 1000;
const DIGITS = 3;

/** See the kind's parameters. */
export interface SplitParameters {
  readonly path: string;
  readonly piece?: number;
  readonly size?: number;
}

/** A file of the disk. */
interface Piece {
  readonly path: string;
  readonly sizeBytes: number;
  readonly isMissing: boolean;
}

/** See the module's comment. */
export const splitKind: DiskKind<SplitParameters> = {
  name: 'split',
  summary: 'one disk in files of a fixed size',
  below: 'none',
  primary: 'path',
  parameters: {
    path: {
      type: text('path'),
      summary: 'what the names of the files begin with',
      isRequired: true,
    },
    piece: { type: diskBytes, summary: 'size of a file; default: that of the first one' },
    size: { type: diskBytes, summary: 'size of the disk; default: what the files have' },
  },
  open({ parameters, options }) {
    const pieces = piecesOf(parameters, options);
    const made: string[] = [];
    const parts: FileDisk[] = [];
    try {
      for (const piece of pieces) {
        if (piece.isMissing) makePiece(piece, made);
        parts.push(openPiece(piece, options));
      }
      return new JoinedDisk('split', parts, describe(parameters, pieces));
    } catch (error) {
      for (const part of parts) part.close();
      for (const path of made) rmSync(path, { force: true });
      throw error;
    }
  },
};

function describe({ path }: SplitParameters, pieces: readonly Piece[]): string {
  const { sizeBytes } = pieces[0];
  return `${path}.000 and so on: ${pieces.length} files of ${sizeBytes} bytes, the last perhaps shorter`;
}

function fail(problem: string): never {
  throw new StorageError('DISK_OPTION', `split: ${problem}`);
}

/** The files that the disk consists of, looked at but not opened. */
function piecesOf(parameters: SplitParameters, { readOnly }: OpenOptions): readonly Piece[] {
  const { path } = parameters;
  const pathOf = (index: number): string => `${path}.${String(index).padStart(DIGITS, '0')}`;
  const found = existingSizes(pathOf);
  const pieceBytes = parameters.piece ?? found[0];
  if (pieceBytes === undefined) {
    const how = 'say how to make it: piece=<bytes>, size=<bytes>';
    throw new StorageError('DISK_OPEN_FAILED', `split: there is no ${pathOf(0)}; ${how}`);
  }
  const foundBytes = found.reduce((sum, bytes) => sum + bytes, 0);
  const sizeBytes = parameters.size ?? foundBytes;
  if (sizeBytes === 0)
    fail(`there is no ${pathOf(0)}: size=<bytes> says how large the disk is to be`);
  const count = Math.ceil(sizeBytes / pieceBytes);
  if (count > MAX_PIECES) {
    fail(`${sizeBytes} bytes are ${count} files of ${pieceBytes}: at most ${MAX_PIECES}`);
  }
  if (found.length > count) fail(`${pathOf(count)} is beyond the size of ${sizeBytes} bytes`);
  return Array.from({ length: count }, (_, index) => {
    const expected = Math.min(pieceBytes, sizeBytes - index * pieceBytes);
    const isMissing = index >= found.length;
    if (!isMissing && found[index] !== expected) {
      fail(`${pathOf(index)} has ${found[index]} bytes: expected ${expected}`);
    }
    if (isMissing && readOnly === true) {
      const message = `split: there is no ${pathOf(index)}, and a read-only disk makes none`;
      throw new StorageError('DISK_OPEN_FAILED', message);
    }
    return { path: pathOf(index), sizeBytes: expected, isMissing };
  });
}

/** Sizes of the files there are. One that is missing among them may have been lost. */
function existingSizes(pathOf: (index: number) => string): number[] {
  const sizes: number[] = [];
  for (let index = 0; index < MAX_PIECES + 1; index++) {
    const stats = statSync(pathOf(index), { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (index > sizes.length) {
      const missing = pathOf(sizes.length);
      const message = `split: ${missing} is missing, but there is ${pathOf(index)}`;
      throw new StorageError('DISK_OPEN_FAILED', message);
    }
    sizes.push(stats.size);
  }
  return sizes;
}

/** As large as it is to be, with nothing in it. @param made - gets its path. */
function makePiece({ path, sizeBytes }: Piece, made: string[]): void {
  try {
    const fd = openSync(path, 'wx');
    made.push(path);
    try {
      ftruncateSync(fd, sizeBytes);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const reason = errnoMessage(Math.abs((error as NodeJS.ErrnoException).errno ?? 0));
    const message = `split: cannot make ${path}: ${reason}`;
    throw new StorageError('DISK_OPEN_FAILED', message, { cause: error });
  }
}

function openPiece({ path }: Piece, options: OpenOptions): FileDisk {
  return openFileDisk({
    path,
    readOnly: options.readOnly ?? false,
    cache: options.cache ?? 'writeback',
    locking: options.locking ?? true,
    ...(options.blockBytes === undefined ? {} : { blockBytes: options.blockBytes }),
  });
}

/** A disk in files that begin with a path. */
export function split(path: string, parameters: Omit<SplitParameters, 'path'> = {}): DiskPlan {
  return new DiskPlan(splitKind, { ...parameters, path });
}
