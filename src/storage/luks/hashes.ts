/** Hash functions, by the names that LUKS headers have for them; node:crypto has the same. */
import { createHash, getHashes } from 'node:crypto';
import { StorageError } from '../errors.ts';

const NAMES = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160'] as const;
const SIZES = new Map<string, number>();

/** Whether there is one of that name. */
export function isHash(name: string): boolean {
  return NAMES.some((each) => each === name) && getHashes().includes(name);
}

/** Throws a `StorageError` DISK_FORMAT if there is none of that name. */
export function checkHash(name: string): string {
  if (isHash(name)) return name;
  const printable = JSON.stringify(name.slice(0, 64));
  throw new StorageError('DISK_FORMAT', `LUKS: hash ${printable}: known are ${NAMES.join(', ')}`);
}

/** Size of a hash in bytes. */
export function hashBytes(name: string): number {
  const known = SIZES.get(name);
  if (known !== undefined) return known;
  const { length } = createHash(name).digest();
  SIZES.set(name, length);
  return length;
}
