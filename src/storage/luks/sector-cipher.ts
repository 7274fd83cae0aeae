/** The encryption of a disk's sectors, from memory to memory. */
import { StorageError } from '../errors.ts';
import type { CipherSpec } from './cipher-spec.ts';
import { NativeSectorCipher } from './native-sector-cipher.ts';
import { NodeSectorCipher } from './node-sector-cipher.ts';

/**
 * See the module's comment. Source and target are addresses, the same or without overlap; the bytes
 * are whole sectors; `number` is that of the first one, in units of 512 bytes. False: it could not
 * be done, and what is in the target is of no use.
 */
export interface SectorCipher {
  /** What does the work, for people. */
  readonly engine: string;
  encrypt(source: number, target: number, bytes: number, number: number): boolean;
  decrypt(source: number, target: number, bytes: number, number: number): boolean;
  /** Forget the key. */
  close(): void;
}

/**
 * The fastest way that there is. Throws a `StorageError` DISK_FORMAT if the key is one that OpenSSL
 * takes for no cipher: two equal halves, with which XTS hides less.
 */
export function openSectorCipher(
  spec: CipherSpec,
  key: Uint8Array,
  sectorBytes: number,
): SectorCipher {
  const half = key.length / 2;
  if (spec.mode === 'xts' && Buffer.compare(key.subarray(0, half), key.subarray(half)) === 0) {
    throw new StorageError('DISK_FORMAT', 'LUKS: the key of the data has two equal halves');
  }
  return (
    NativeSectorCipher.open(spec, key, sectorBytes) ?? new NodeSectorCipher(spec, key, sectorBytes)
  );
}
