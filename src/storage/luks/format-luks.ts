/** Makes LUKS containers that cryptsetup and, of version 1, QEMU can open. */

import { pbkdf2, randomBytes, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { useAndClose } from '../../sys/index.ts';
import type { DiskAccess } from '../access/disk-access.ts';
import { openAccess } from '../access/open-access.ts';
import { StorageError } from '../errors.ts';
import type { DiskLike } from '../plan/disk-kind.ts';
import { openDisk } from '../plan/open-disk.ts';
import { splitKey } from './anti-forensic.ts';
import { type CipherSpec, cipherSpec } from './cipher-spec.ts';
import { checkHash } from './hashes.ts';
import { writeRange } from './header-bytes.ts';
import { checkDerivation, type KeyDerivation, KeyDeriver } from './key-derivation.ts';
import { SLOT_SECTOR_BYTES, slotBytes } from './luks-volume.ts';
import { LUKS1_DIGEST_BYTES, LUKS1_SLOTS, luks1Header } from './luks1-header.ts';
import { luks2Headers } from './luks2-header.ts';
import { luks2Json } from './luks2-json-area.ts';
import { NodeSectorCipher } from './node-sector-cipher.ts';
import { type Passphrase, passphraseBytes } from './passphrase.ts';

/** How a container is to be made. */
export interface FormatLuksOptions {
  /** 2 unless given. */
  readonly version?: 1 | 2;
  /** Not empty. */
  readonly passphrase: Passphrase;
  /** `aes-xts-plain64` unless given; or `aes-cbc-essiv:sha256`, and both with plain, plain64. */
  readonly cipher?: string;
  /** 512 for XTS, else 256, unless given. */
  readonly keyBits?: number;
  /** Unit of encryption: 512 to 4096, a power of two; LUKS1 has 512. The disk's block unless given. */
  readonly sectorBytes?: number;
  /** `sha256` unless given. */
  readonly hash?: string;
  /** `argon2id` for LUKS2, `pbkdf2` for LUKS1, which has no other. */
  readonly pbkdf?: 'pbkdf2' | 'argon2i' | 'argon2id';
  /** Of PBKDF2 2 000 000 unless given; of Argon2, passes over the memory, 4. */
  readonly iterations?: number;
  /** Of Argon2: KiB, 262144 unless given, and threads, 4. */
  readonly memoryKib?: number;
  readonly parallel?: number;
  /** Of LUKS2: up to 47 bytes. */
  readonly label?: string;
}

const SALT_BYTES = 32;
const HEADER_SALT_BYTES = 64;
const STRIPES = 4000;
const MAX_LABEL_BYTES = 47;
const SECTOR_SIZES = [512, 1024, 2048, 4096];
/** Alignment of key slots, and where those of LUKS1 begin. */
const SLOT_ALIGNMENT = 4096;
/** Where the data begins, as cryptsetup has it. */
const LUKS1_DATA_ALIGNMENT = 2 ** 20;
const LUKS2_DATA_OFFSET = 16 * 2 ** 20;
const LUKS2_HEADER_BYTES = 0x4000;
const DIGEST_ITERATIONS = 100_000;

const derivePbkdf2 = promisify(pbkdf2);

/** What both versions have in common. */
interface Container {
  readonly cipher: CipherSpec;
  readonly hash: string;
  readonly key: Buffer;
  readonly derivation: KeyDerivation;
  readonly sectorBytes: number;
  readonly digestSalt: Buffer;
  readonly uuid: string;
  readonly label: string;
}

/**
 * Make a container of a disk: whatever is in the disk is lost. What is to be the encrypted disk's
 * content is not written: it reads as noise. Rejects with a `StorageError`: DISK_OPTION if the
 * options are wrong, DISK_EMPTY if the disk has no room.
 */
export async function formatLuks(disk: DiskLike, options: FormatLuksOptions): Promise<void> {
  const opened = await openDisk(disk);
  const access = openAccess(opened);
  const own = opened === disk ? [] : [opened];
  await useAndClose([access, ...own], () => format(access, options));
}

async function format(access: DiskAccess, options: FormatLuksOptions): Promise<void> {
  const version = options.version ?? 2;
  const container = planContainer(options, version, access.info.logicalBlockBytes);
  const passphrase = await passphraseBytes({ passphrase: options.passphrase });
  try {
    const material = splitKey(container.key, STRIPES, container.hash);
    const slotKey = await new KeyDeriver().derive(
      passphrase,
      container.derivation,
      container.key.length,
    );
    const slot = encryptMaterial(container, material, slotKey);
    if (version === 1) await writeLuks1(access, container, slot);
    else await writeLuks2(access, container, slot);
    await access.flush();
  } finally {
    passphrase.fill(0);
    container.key.fill(0);
  }
}

function planContainer(
  options: FormatLuksOptions,
  version: 1 | 2,
  logicalBlockBytes: number,
): Container {
  const name = options.cipher ?? 'aes-xts-plain64';
  const keyBytes = (options.keyBits ?? (name.includes('xts') ? 512 : 256)) / 8;
  const sectorBytes = options.sectorBytes ?? (version === 1 ? 512 : logicalBlockBytes);
  const label = options.label ?? '';
  if (!SECTOR_SIZES.includes(sectorBytes) || (version === 1 && sectorBytes !== 512)) {
    fail(`sectors of ${sectorBytes} bytes with LUKS${version}`);
  }
  if (Buffer.byteLength(label) > MAX_LABEL_BYTES) fail(`a label of over ${MAX_LABEL_BYTES} bytes`);
  if (options.passphrase.length === 0) fail('an empty passphrase');
  return asOption(() => {
    const hash = checkHash(options.hash ?? 'sha256');
    const derivation = planDerivation(options, version, hash);
    checkDerivation(derivation);
    const cipher = cipherSpec(name, keyBytes);
    const digestSalt = randomBytes(SALT_BYTES);
    const uuid = randomUUID();
    const key = randomBytes(keyBytes);
    return { cipher, hash, key, derivation, sectorBytes, digestSalt, uuid, label };
  });
}

function planDerivation(options: FormatLuksOptions, version: 1 | 2, hash: string): KeyDerivation {
  const type = options.pbkdf ?? (version === 1 ? 'pbkdf2' : 'argon2id');
  const salt = randomBytes(SALT_BYTES);
  if (type === 'pbkdf2') return { type, hash, salt, iterations: options.iterations ?? 2_000_000 };
  if (version === 1) fail(`${type} with LUKS1`);
  const { iterations = 4, memoryKib = 2 ** 18, parallel = 4 } = options;
  return { type, salt, time: iterations, memoryKib, parallel };
}

/** What headers are refused for is a mistake of the caller here. */
function asOption<Result>(make: () => Result): Result {
  try {
    return make();
  } catch (error) {
    if (error instanceof StorageError && error.code === 'DISK_FORMAT') fail(error.message);
    throw error;
  }
}

function encryptMaterial({ cipher, key }: Container, material: Buffer, slotKey: Buffer): Buffer {
  const slot = Buffer.alloc(slotBytes(key.length, STRIPES));
  slot.set(material);
  material.fill(0);
  const sectors = new NodeSectorCipher(cipher, slotKey, SLOT_SECTOR_BYTES);
  sectors.inPlace(slot, true);
  sectors.close();
  slotKey.fill(0);
  return slot;
}

async function writeLuks1(access: DiskAccess, container: Container, slot: Buffer): Promise<void> {
  const { cipher, hash, key, derivation, digestSalt, uuid } = container;
  if (derivation.type !== 'pbkdf2') throw new Error('LUKS1 has PBKDF2');
  const stride = roundUp(slot.length, SLOT_ALIGNMENT);
  const slotOffsets = Array.from(
    { length: LUKS1_SLOTS },
    (_, number) => SLOT_ALIGNMENT + number * stride,
  );
  const payloadOffset = roundUp(slotOffsets[0] + LUKS1_SLOTS * stride, LUKS1_DATA_ALIGNMENT);
  checkRoom(access, payloadOffset);
  const digestIterations = DIGEST_ITERATIONS;
  const digest = await derivePbkdf2(key, digestSalt, digestIterations, LUKS1_DIGEST_BYTES, hash);
  const header = luks1Header({
    ...{ cipher: cipher.name, hash, keyBytes: key.length, payloadOffset, digest, digestSalt },
    ...{ digestIterations, uuid, slotOffsets, stripes: STRIPES },
    slotIterations: derivation.iterations,
    slotSalt: derivation.salt,
  });
  // The header last: before that there is no container, or the old one.
  await writeRange(access, slotOffsets[0], slot);
  await access.flush();
  await writeRange(access, 0, header);
}

async function writeLuks2(access: DiskAccess, container: Container, slot: Buffer): Promise<void> {
  const { cipher, hash, key, derivation, sectorBytes, digestSalt, uuid, label } = container;
  const slotOffset = 2 * LUKS2_HEADER_BYTES;
  checkRoom(access, LUKS2_DATA_OFFSET);
  const digest = await derivePbkdf2(key, digestSalt, DIGEST_ITERATIONS, SALT_BYTES, hash);
  const json = luks2Json({
    ...{ cipher: cipher.name, hash, derivation, sectorBytes, digest, digestSalt },
    ...{ keyBytes: key.length, stripes: STRIPES, slotOffset, headerBytes: LUKS2_HEADER_BYTES },
    slotAreaBytes: roundUp(slot.length, SLOT_ALIGNMENT),
    dataOffset: LUKS2_DATA_OFFSET,
    digestIterations: DIGEST_ITERATIONS,
  });
  const salts = [randomBytes(HEADER_SALT_BYTES), randomBytes(HEADER_SALT_BYTES)] as const;
  const headers = luks2Headers({ sizeBytes: LUKS2_HEADER_BYTES, label, uuid, json, salts });
  await writeRange(access, slotOffset, slot);
  await access.flush();
  await writeRange(access, 0, headers);
}

function checkRoom(access: DiskAccess, dataOffset: number): void {
  if (access.currentSizeBytes() > dataOffset) return;
  throw new StorageError(
    'DISK_EMPTY',
    `LUKS: a disk of ${access.currentSizeBytes()} bytes has no room behind the header, which ` +
      `takes ${dataOffset}`,
  );
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function fail(problem: string): never {
  throw new StorageError('DISK_OPTION', `formatLuks: ${problem}`);
}
