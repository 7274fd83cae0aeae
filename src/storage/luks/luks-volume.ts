/**
 * What a LUKS header says, of either version: where the data is, how it is encrypted, and the key
 * slots, each of which has the data's key encrypted with a passphrase.
 */
import { StorageError } from '../errors.ts';
import type { CipherSpec } from './cipher-spec.ts';
import type { KeyDerivation, Pbkdf2Parameters } from './key-derivation.ts';

/** See the module's comment. Offsets and sizes in bytes. */
export interface LuksVolume {
  readonly version: 1 | 2;
  readonly cipher: CipherSpec;
  /** Of the data's key. */
  readonly keyBytes: number;
  readonly sectorBytes: number;
  readonly dataOffset: number;
  /** Absent: up to the end of the disk below. */
  readonly dataBytes: number | undefined;
  /** Number of the first sector of the data, in units of 512 bytes. */
  readonly firstNumber: number;
  /** In the order to try them in. */
  readonly slots: readonly KeySlot[];
  /** For the log: what is wrong with it, though it can be used. */
  readonly warning?: string | undefined;
}

/** One of the places where the data's key is. */
export interface KeySlot {
  readonly number: number;
  /** Only to be tried if it is asked for. */
  readonly isHidden: boolean;
  /** From passphrase to the slot's own key. */
  readonly derivation: KeyDerivation;
  readonly cipher: CipherSpec;
  /** Of the slot's own key. */
  readonly keyBytes: number;
  /** Where the data's key is, encrypted and in stripes. */
  readonly offset: number;
  readonly stripes: number;
  readonly stripeHash: string;
  /** How to know that what comes out is the data's key. */
  readonly digest: KeyDigest;
}

/** A digest of the data's key. */
export interface KeyDigest {
  readonly derivation: Pbkdf2Parameters;
  readonly value: Uint8Array;
}

/** Key slots are encrypted in sectors of this size, numbered from 0. */
export const SLOT_SECTOR_BYTES = 512;

/** More make no key safer. LUKS has 4000. */
export const MAX_STRIPES = 65536;

/** Bytes of a key slot's place that are in use: whole sectors. */
export function slotBytes(keyBytes: number, stripes: number): number {
  return Math.ceil((keyBytes * stripes) / SLOT_SECTOR_BYTES) * SLOT_SECTOR_BYTES;
}

/** Throw a `StorageError` DISK_SECRET. */
export function failWithoutSlots(): never {
  throw new StorageError(
    'DISK_SECRET',
    'LUKS: no key slot is in use: no passphrase opens the disk',
  );
}

/** Throw a `StorageError` DISK_FORMAT: this is the header of data that is elsewhere. */
export function failDetached(version: number): never {
  throw new StorageError(
    'DISK_FORMAT',
    `LUKS${version}: its data is on another disk (detached header), which is not supported`,
  );
}
