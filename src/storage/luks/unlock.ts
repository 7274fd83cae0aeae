/** From a passphrase to the key of the data, by way of the key slots. */
import { timingSafeEqual } from 'node:crypto';
import type { DiskAccess } from '../access/disk-access.ts';
import { StorageError } from '../errors.ts';
import { mergeStripes } from './anti-forensic.ts';
import { readRange } from './header-bytes.ts';
import { KeyDeriver } from './key-derivation.ts';
import {
  type KeyDigest,
  type KeySlot,
  type LuksVolume,
  SLOT_SECTOR_BYTES,
  slotBytes,
} from './luks-volume.ts';
import { NodeSectorCipher } from './node-sector-cipher.ts';

/** The key of the data, and the number of the slot that it was in. */
export interface UnlockedKey {
  readonly key: Buffer;
  readonly slot: number;
}

/**
 * Rejects with a `StorageError` DISK_SECRET if the passphrase is that of no slot.
 *
 * @param wanted - the slot to try; absent: all but those that are to be asked for.
 */
export async function unlock(
  access: DiskAccess,
  volume: LuksVolume,
  passphrase: Uint8Array,
  wanted?: number,
): Promise<UnlockedKey> {
  const slots = volume.slots.filter(({ number, isHidden }) =>
    wanted === undefined ? !isHidden : number === wanted,
  );
  if (wanted !== undefined && slots.length === 0) {
    const numbers = volume.slots.map(({ number }) => number).join(', ');
    throw new StorageError('DISK_SECRET', `LUKS: key slot ${wanted} is free; in use: ${numbers}`);
  }
  const deriver = new KeyDeriver();
  for (const slot of slots) {
    const key = await trySlot(access, volume, slot, passphrase, deriver);
    if (key !== undefined) return { key, slot: slot.number };
  }
  const where = wanted === undefined ? 'any key slot' : `key slot ${wanted}`;
  throw new StorageError('DISK_SECRET', `LUKS: the passphrase is not that of ${where}`);
}

async function trySlot(
  access: DiskAccess,
  volume: LuksVolume,
  slot: KeySlot,
  passphrase: Uint8Array,
  deriver: KeyDeriver,
): Promise<Buffer | undefined> {
  const { offset, stripes, stripeHash } = slot;
  const material = await readRange(access, offset, slotBytes(volume.keyBytes, stripes));
  const slotKey = await deriver.derive(passphrase, slot.derivation, slot.keyBytes);
  const cipher = new NodeSectorCipher(slot.cipher, slotKey, SLOT_SECTOR_BYTES);
  cipher.inPlace(material, false);
  cipher.close();
  slotKey.fill(0);
  const key = mergeStripes(material, volume.keyBytes, stripes, stripeHash);
  material.fill(0);
  if (await isKey(key, slot.digest, deriver)) return key;
  key.fill(0);
  return undefined;
}

async function isKey(
  key: Uint8Array,
  { derivation, value }: KeyDigest,
  deriver: KeyDeriver,
): Promise<boolean> {
  const found = await deriver.derive(key, derivation, value.length);
  return timingSafeEqual(found, value);
}
