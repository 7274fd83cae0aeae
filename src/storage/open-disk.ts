/**
 * The factory of disks, and the syntax by which people name them: `null,size=1G`.
 */
import type { Disk } from './disk.ts';
import { StorageError } from './errors.ts';
import {
  type CacheMode,
  checkBlockSize,
  type ImageLocking,
  openFileDisk,
} from './file/open-file-disk.ts';
import { NullDisk } from './null-disk.ts';

/** Which disk to open, and how. */
export interface DiskSpecification {
  readonly source:
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'null'; readonly sizeBytes: number };
  readonly readOnly?: boolean;
  readonly cache?: CacheMode;
  readonly blockBytes?: number;
  readonly locking?: ImageLocking;
}

const SIZE_UNITS: Record<string, number> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
};
const DEFAULT_BLOCK_BYTES = 512;

/** Open a disk. Throws a `StorageError`. */
export function openDisk(specification: DiskSpecification): Disk {
  const { source, ...options } = specification;
  if (source.kind === 'file') return openFileDisk({ path: source.path, ...options });
  const logicalBlockBytes = options.blockBytes ?? DEFAULT_BLOCK_BYTES;
  checkBlockSize(logicalBlockBytes);
  const readOnly = options.readOnly ?? false;
  return new NullDisk({
    sizeBytes: source.sizeBytes,
    readOnly,
    logicalBlockBytes,
    physicalBlockBytes: logicalBlockBytes,
    minIoBytes: 0,
    optimalIoBytes: 0,
    canDiscard: !readOnly,
    canWriteZeroes: !readOnly,
    writeBack: options.cache !== 'writethrough',
  });
}

/**
 * Read a disk as it is written on a command line: a kind and its parameters, `null,size=1G`.
 * Throws a `StorageError` with code DISK_OPTION that says what was expected.
 */
export function parseDiskOption(text: string): DiskSpecification['source'] {
  const [kind, ...pairs] = text.split(',');
  if (kind !== 'null') {
    throw optionError(text, `unknown kind "${kind}"; known: null`);
  }
  const parameters = parseParameters(text, pairs);
  const size = parameters.get('size');
  if (size === undefined) throw optionError(text, 'parameter "size" is missing');
  parameters.delete('size');
  for (const name of parameters.keys()) throw optionError(text, `unknown parameter "${name}"`);
  return { kind, sizeBytes: parseSize(size) };
}

function parseParameters(text: string, pairs: readonly string[]): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw optionError(text, `"${pair}" is not of the form name=value`);
    const name = pair.slice(0, equals);
    if (parameters.has(name)) throw optionError(text, `parameter "${name}" is given twice`);
    parameters.set(name, pair.slice(equals + 1));
  }
  return parameters;
}

function optionError(text: string, problem: string): StorageError {
  return new StorageError('DISK_OPTION', `disk "${text}": ${problem}`);
}

/**
 * A size in bytes, with an optional unit K, M, G, T or P (powers of 1024): `1G`, `1.5T`, `4096`.
 * A positive multiple of 512. Throws a `StorageError`.
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGTP]?)(?:i?B)?$/i.exec(text);
  const bytes = match === null ? Number.NaN : Number(match[1]) * SIZE_UNITS[match[2].toUpperCase()];
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % 512 !== 0) {
    const expected = 'a positive multiple of 512 bytes such as 512M or 1G';
    throw new StorageError('DISK_OPTION', `size "${text}": expected ${expected}`);
  }
  return bytes;
}
