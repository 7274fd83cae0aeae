/**
 * How sectors are encrypted, as LUKS headers name it: `aes-xts-plain64`. The names are dm-crypt's:
 * cipher, mode, and what makes the initialisation vector of a sector from its number.
 */
import { StorageError } from '../errors.ts';

/** AES in XTS (IEEE 1619) or CBC. */
export type CipherMode = 'xts' | 'cbc';

/**
 * Initialisation vectors, each of a sector's number in units of 512 bytes, little endian: 64 or 32
 * bits of it, or all of it encrypted with the hash of the key (ESSIV).
 */
export type IvGenerator = 'plain64' | 'plain' | 'essiv:sha256';

/** See the module's comment. */
export interface CipherSpec {
  /** As written. */
  readonly name: string;
  readonly mode: CipherMode;
  readonly iv: IvGenerator;
}

const SPECIFICATION = /^aes-(xts|cbc)-(plain64|plain|essiv:sha256)$/;

/** Key lengths in bytes; XTS has two keys of a length, one after the other. */
const KEY_BYTES: Readonly<Record<CipherMode, readonly number[]>> = {
  xts: [32, 64],
  cbc: [16, 24, 32],
};

/** Unit of the numbers that sectors have, whatever their size. */
export const IV_UNIT_BYTES = 512;

/** Throws a `StorageError` DISK_FORMAT if it is not one that can be done. */
export function cipherSpec(name: string, keyBytes: number): CipherSpec {
  const match = SPECIFICATION.exec(name);
  if (match === null) {
    const printable = JSON.stringify(name.slice(0, 64));
    throw new StorageError(
      'DISK_FORMAT',
      `LUKS: encrypted with ${printable}: known are aes-xts-plain64, aes-cbc-essiv:sha256, and ` +
        'both modes with plain and plain64',
    );
  }
  const mode = match[1] as CipherMode;
  if (!KEY_BYTES[mode].includes(keyBytes)) {
    const bits = KEY_BYTES[mode].map((bytes) => bytes * 8).join(', ');
    throw new StorageError(
      'DISK_FORMAT',
      `LUKS: ${name} with a key of ${keyBytes * 8} bits: expected ${bits}`,
    );
  }
  return { name, mode, iv: match[2] as IvGenerator };
}

/** OpenSSL's name of the cipher itself, for a key of so many bytes. */
export function opensslName({ mode }: CipherSpec, keyBytes: number): string {
  const bits = mode === 'xts' ? keyBytes * 4 : keyBytes * 8;
  return `aes-${bits}-${mode}`;
}
