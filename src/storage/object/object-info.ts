/** What a disk object says of itself, checked: its author may have no compiler that does. */
import type { DiskInfo } from '../disk.ts';
import { StorageError } from '../errors.ts';
import type { DiskObject } from './disk-object.ts';

const SECTOR_BYTES = 512;
const MAX_BLOCK_BYTES = 65536;
const MAX_CONCURRENCY = 65536;
const DEFAULT_CONCURRENCY = 128;
/** What a timer of Node's takes. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const METHODS = [
  'write',
  'readv',
  'writev',
  'flush',
  'discard',
  'writeZeroes',
  'useLogger',
  'close',
  'on',
  'off',
] as const;

/** How requests are handed to an object. */
export interface ObjectLimits {
  readonly maxConcurrency: number;
  readonly timeoutMs: number | undefined;
}

function fail(problem: string): never {
  throw new StorageError('DISK_OBJECT', `disk object: ${problem}`);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** Have an object looked at: its properties may throw anything, which becomes a `StorageError`. */
function looking<Result>(look: () => Result): Result {
  try {
    return look();
  } catch (error) {
    if (error instanceof StorageError) throw error;
    fail(`it cannot be looked at: ${String(error)}`);
  }
}

/** The size of an object now, in whole blocks. Throws a `StorageError`. */
export function objectSizeBytes(object: DiskObject, blockBytes: number): number {
  return looking(() => sizeOf(object, blockBytes));
}

function sizeOf({ sizeBytes }: DiskObject, blockBytes: number): number {
  const isSize = Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % SECTOR_BYTES === 0;
  if (!isSize) {
    fail(`sizeBytes is ${shown(sizeBytes)}: expected a positive multiple of ${SECTOR_BYTES}`);
  }
  if (sizeBytes % blockBytes !== 0) {
    fail(`sizeBytes is ${sizeBytes}: expected a multiple of its blocks of ${blockBytes}`);
  }
  return sizeBytes;
}

function blockBytes(object: DiskObject, name: 'logicalBlockBytes' | 'physicalBlockBytes'): number {
  const bytes = object[name] ?? object.logicalBlockBytes ?? SECTOR_BYTES;
  const isPower = Number.isInteger(bytes) && bytes > 0 && Number.isInteger(Math.log2(bytes));
  if (!isPower || bytes < SECTOR_BYTES || bytes > MAX_BLOCK_BYTES) {
    const range = `${SECTOR_BYTES} to ${MAX_BLOCK_BYTES}`;
    fail(`${name} is ${shown(bytes)}: expected a power of two from ${range}`);
  }
  return bytes;
}

function countOf(
  object: DiskObject,
  name: 'maxConcurrency' | 'timeoutMs' | 'minIoBytes' | 'optimalIoBytes',
  minimum: number,
  maximum: number,
): number | undefined {
  const value = object[name];
  if (value === undefined) return undefined;
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    fail(`${name} is ${shown(value)}: expected a whole number from ${minimum} to ${maximum}`);
  }
  return value;
}

function checkMethods(object: DiskObject): void {
  if (typeof object.read !== 'function') {
    fail(`read is ${shown(object.read)}: expected a method read(buffer, offset)`);
  }
  for (const name of METHODS) {
    const method: unknown = object[name];
    if (method !== undefined && typeof method !== 'function') {
      fail(`${name} is ${shown(method)}: expected a method, or nothing`);
    }
  }
  if (object.write !== undefined) return;
  const needsWrite = (['writev', 'discard', 'writeZeroes'] as const).find(
    (name) => object[name] !== undefined,
  );
  if (needsWrite !== undefined) fail(`there is ${needsWrite} but no write`);
}

function checkFields({ honoursStable, description }: DiskObject): void {
  if (honoursStable !== undefined && typeof honoursStable !== 'boolean') {
    fail(`honoursStable is ${shown(honoursStable)}: expected true or false`);
  }
  const isLine = typeof description === 'string' && /^.+$/.test(description);
  if (description !== undefined && !isLine) {
    fail(`description is ${shown(description)}: expected one line of text`);
  }
}

/** What the guest is told of an object. Throws a `StorageError` that says what is wrong with it. */
export function objectInfo(object: DiskObject): DiskInfo {
  if (typeof object !== 'object' || object === null) {
    fail(`it is ${shown(object)}: expected an object with sizeBytes and read`);
  }
  return looking(() => infoOf(object));
}

function infoOf(object: DiskObject): DiskInfo {
  checkMethods(object);
  checkFields(object);
  const logicalBlockBytes = blockBytes(object, 'logicalBlockBytes');
  const physicalBlockBytes = blockBytes(object, 'physicalBlockBytes');
  if (physicalBlockBytes < logicalBlockBytes) {
    fail(`physicalBlockBytes is less than logicalBlockBytes (${logicalBlockBytes})`);
  }
  return {
    sizeBytes: sizeOf(object, logicalBlockBytes),
    readOnly: object.write === undefined,
    logicalBlockBytes,
    physicalBlockBytes,
    minIoBytes: countOf(object, 'minIoBytes', 0, 2 ** 32 - 1) ?? 0,
    optimalIoBytes: countOf(object, 'optimalIoBytes', 0, 2 ** 32 - 1) ?? 0,
    canDiscard: object.discard !== undefined,
    canWriteZeroes: object.writeZeroes !== undefined,
    writeBack: object.flush !== undefined,
  };
}

/** How its requests are to be handed over. Throws a `StorageError`. */
export function objectLimits(object: DiskObject): ObjectLimits {
  return looking(() => ({
    maxConcurrency: countOf(object, 'maxConcurrency', 1, MAX_CONCURRENCY) ?? DEFAULT_CONCURRENCY,
    timeoutMs: countOf(object, 'timeoutMs', 1, MAX_TIMEOUT_MS),
  }));
}
