/**
 * The header of LUKS1, big endian (LUKS1 On-Disk Format Specification 1.2.3, figures 1 to 4):
 *
 *       0  magic, 6 bytes                112  digest of the key, 20
 *       6  version, 2                    132  its salt, 32
 *       8  cipher name, 32               164  its iterations, 4
 *      40  cipher mode, 32               168  UUID, 40
 *      72  hash, 32                      208  eight key slots, 48 each: state, iterations, salt 32,
 *     104  payload offset in sectors, 4       offset in sectors, stripes
 *     108  key bytes, 4
 */
import { StorageError } from '../errors.ts';
import { cipherSpec } from './cipher-spec.ts';
import { checkHash } from './hashes.ts';
import { checkDerivation } from './key-derivation.ts';
import {
  failDetached,
  failWithoutSlots,
  type KeySlot,
  type LuksVolume,
  MAX_STRIPES,
  slotBytes,
} from './luks-volume.ts';

/** `LUKS`, 0xba, 0xbe: both versions begin with it. */
export const MAGIC: Buffer = Buffer.from('LUKS\xba\xbe', 'latin1');
export const LUKS1_HEADER_BYTES = 592;
export const LUKS1_SLOTS = 8;
export const LUKS1_DIGEST_BYTES = 20;
const SECTOR_BYTES = 512;
const SALT_BYTES = 32;
const SLOTS_OFFSET = 208;
const SLOT_BYTES = 48;
const SLOT_ENABLED = 0x00ac71f3;
const SLOT_DISABLED = 0x0000dead;

/** What a new header says; see `luks1Header`. */
export interface Luks1Fields {
  readonly cipher: string;
  readonly hash: string;
  readonly keyBytes: number;
  readonly payloadOffset: number;
  readonly digest: Uint8Array;
  readonly digestSalt: Uint8Array;
  readonly digestIterations: number;
  readonly uuid: string;
  /** The first slot is in use. */
  readonly slotIterations: number;
  readonly slotSalt: Uint8Array;
  readonly slotOffsets: readonly number[];
  readonly stripes: number;
}

/** Throws a `StorageError` DISK_FORMAT. @param sizeBytes - of the disk that it is on. */
export function parseLuks1(header: Buffer, sizeBytes: number): LuksVolume {
  const keyBytes = header.readUInt32BE(108);
  const cipher = cipherSpec(`${textAt(header, 8, 32)}-${textAt(header, 40, 32)}`, keyBytes);
  const hash = checkHash(textAt(header, 72, 32));
  const dataOffset = header.readUInt32BE(104) * SECTOR_BYTES;
  if (dataOffset === 0) failDetached(1);
  if (dataOffset < LUKS1_HEADER_BYTES) fail('its data begins within the header');
  const digest = {
    derivation: {
      type: 'pbkdf2',
      hash,
      salt: Uint8Array.from(header.subarray(132, 132 + SALT_BYTES)),
      iterations: header.readUInt32BE(164),
    },
    value: Uint8Array.from(header.subarray(112, 112 + LUKS1_DIGEST_BYTES)),
  } as const;
  checkDerivation(digest.derivation);
  const slots: KeySlot[] = [];
  for (let number = 0; number < LUKS1_SLOTS; number++) {
    const at = SLOTS_OFFSET + number * SLOT_BYTES;
    const state = header.readUInt32BE(at);
    const offset = header.readUInt32BE(at + 40) * SECTOR_BYTES;
    const stripes = header.readUInt32BE(at + 44);
    if (stripes < 1 || stripes > MAX_STRIPES) fail(`key slot ${number} has ${stripes} stripes`);
    const end = offset + slotBytes(keyBytes, stripes);
    // Also of one that is free: whoever adds a key would write it over data.
    if (offset < LUKS1_HEADER_BYTES || end > dataOffset) {
      fail(`key slot ${number} is not between the header and the data`);
    }
    if (state === SLOT_DISABLED) continue;
    if (state !== SLOT_ENABLED) fail(`key slot ${number} is neither in use nor free`);
    const salt = Uint8Array.from(header.subarray(at + 8, at + 8 + SALT_BYTES));
    const iterations = header.readUInt32BE(at + 4);
    const derivation = { type: 'pbkdf2', hash, salt, iterations } as const;
    checkDerivation(derivation);
    const own = { derivation, cipher, keyBytes, offset, stripes, stripeHash: hash, digest };
    slots.push({ number, isHidden: false, ...own });
  }
  if (slots.length === 0) failWithoutSlots();
  if (dataOffset >= sizeBytes)
    fail(`its data begins at byte ${dataOffset}, behind the end of the disk`);
  return {
    ...{ version: 1, cipher, keyBytes, sectorBytes: SECTOR_BYTES, dataOffset },
    ...{ dataBytes: undefined, firstNumber: 0, slots },
  };
}

/** The bytes of a header. */
export function luks1Header(fields: Luks1Fields): Buffer {
  const header = Buffer.alloc(LUKS1_HEADER_BYTES);
  const dash = fields.cipher.indexOf('-');
  MAGIC.copy(header, 0);
  header.writeUInt16BE(1, 6);
  header.write(fields.cipher.slice(0, dash), 8);
  header.write(fields.cipher.slice(dash + 1), 40);
  header.write(fields.hash, 72);
  header.writeUInt32BE(fields.payloadOffset / SECTOR_BYTES, 104);
  header.writeUInt32BE(fields.keyBytes, 108);
  header.set(fields.digest, 112);
  header.set(fields.digestSalt, 132);
  header.writeUInt32BE(fields.digestIterations, 164);
  header.write(fields.uuid, 168);
  fields.slotOffsets.forEach((offset, number) => {
    const at = SLOTS_OFFSET + number * SLOT_BYTES;
    header.writeUInt32BE(number === 0 ? SLOT_ENABLED : SLOT_DISABLED, at);
    if (number === 0) {
      header.writeUInt32BE(fields.slotIterations, at + 4);
      header.set(fields.slotSalt, at + 8);
    }
    header.writeUInt32BE(offset / SECTOR_BYTES, at + 40);
    header.writeUInt32BE(fields.stripes, at + 44);
  });
  return header;
}

/** A text of at most so many bytes, up to the first that is 0. */
export function textAt(header: Buffer, offset: number, bytes: number): string {
  const field = header.subarray(offset, offset + bytes);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? bytes : end);
}

function fail(problem: string): never {
  throw new StorageError('DISK_FORMAT', `LUKS1: the header is damaged: ${problem}`);
}
