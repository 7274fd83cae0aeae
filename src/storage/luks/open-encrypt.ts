/** Unlocks LUKS containers. */
import { openAccess } from '../access/open-access.ts';
import type { Disk } from '../disk.ts';
import type { OpenContext } from '../plan/disk-kind.ts';
import type { EncryptParameters } from './encrypt.ts';
import { EncryptDisk } from './encrypt-disk.ts';
import type { LuksVolume } from './luks-volume.ts';
import { passphraseBytes } from './passphrase.ts';
import { readVolume } from './read-volume.ts';
import { openSectorCipher } from './sector-cipher.ts';
import { SharedLatch } from './shared-latch.ts';
import { type UnlockedKey, unlock } from './unlock.ts';

/** See the kind. */
export async function openEncrypt(context: OpenContext<EncryptParameters>): Promise<Disk> {
  const { parameters, options, openBelow } = context;
  const passphrase = await passphraseBytes(parameters);
  try {
    const lower = await openBelow(0);
    const { volume, unlocked } = await unlockDisk(lower, passphrase, parameters.keySlot);
    if (volume.warning !== undefined) options.logger?.warn(volume.warning);
    return openUnlocked(lower, volume, unlocked, parameters.allowDiscards === true);
  } finally {
    passphrase.fill(0);
  }
}

async function unlockDisk(
  lower: Disk,
  passphrase: Uint8Array,
  keySlot: number | undefined,
): Promise<{ volume: LuksVolume; unlocked: UnlockedKey }> {
  const access = openAccess(lower);
  try {
    const volume = await readVolume(access);
    return { volume, unlocked: await unlock(access, volume, passphrase, keySlot) };
  } finally {
    access.close();
  }
}

function openUnlocked(
  lower: Disk,
  volume: LuksVolume,
  { key, slot }: UnlockedKey,
  allowDiscards: boolean,
): EncryptDisk {
  const { version, cipher, sectorBytes, dataOffset, dataBytes, firstNumber } = volume;
  const trial = openSectorCipher(cipher, key, sectorBytes);
  const description =
    `LUKS${version}, ${cipher.name} with a key of ${key.length * 8} bits from key slot ${slot}, ` +
    `sectors of ${sectorBytes} bytes, data from byte ${dataOffset}, encrypted by ${trial.engine}`;
  trial.close();
  const { buffer: latch } = new SharedLatch();
  const where = { sectorBytes, dataOffset, dataBytes, firstNumber };
  try {
    return new EncryptDisk(lower, { description, cipher, key, ...where, allowDiscards, latch });
  } finally {
    key.fill(0);
  }
}
