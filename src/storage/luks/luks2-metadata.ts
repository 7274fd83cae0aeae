/**
 * The JSON area of LUKS2 (LUKS2 On-Disk Format Specification 1.1.4, 3): what of it is needed to use
 * a volume. Whatever is there may have been made by somebody who means harm.
 */
import { StorageError } from '../errors.ts';
import { cipherSpec } from './cipher-spec.ts';
import { checkHash } from './hashes.ts';
import {
  type Argon2Parameters,
  checkDerivation,
  type KeyDerivation,
  type Pbkdf2Parameters,
} from './key-derivation.ts';
import {
  failDetached,
  failWithoutSlots,
  type KeyDigest,
  type KeySlot,
  type LuksVolume,
  MAX_STRIPES,
  slotBytes,
} from './luks-volume.ts';
import { fail, JsonObject } from './luks2-json.ts';

const SECTOR_SIZES = [512, 1024, 2048, 4096];
const MAX_KEY_BYTES = 64;
const MAX_SLOTS = 32;
/** Of key slots: only used if asked for, as usual, before others. */
const PRIORITY_IGNORE = 0;
const PRIORITY_NORMAL = 1;

/**
 * Throws a `StorageError` DISK_FORMAT if it is damaged, or asks for what is not supported.
 *
 * @param headersBytes - both copies of the header; key slots come after them.
 * @param sizeBytes - of the disk that it is on.
 */
export function parseMetadata(json: string, headersBytes: number, sizeBytes: number): LuksVolume {
  const root = JsonObject.parse(json);
  checkRequirements(root);
  const [segmentName, segment] = onlySegment(root);
  const digests = root.object('digests').entries();
  const found = digests.find(([, each]) => each.names('segments').includes(segmentName));
  if (found === undefined) fail('no digest belongs to the data');
  const [, digestObject] = found;
  const digest = readDigest(digestObject);
  const dataOffset = segment.size('offset');
  checkDataOffset(dataOffset, root, headersBytes);
  const slots = readSlots(root, digestObject.names('keyslots'), digest, headersBytes, dataOffset);
  if (slots.length === 0) failWithoutSlots();
  const keyBytes = slots[0].dataKeyBytes;
  const usable = slots.filter((slot) => slot.dataKeyBytes === keyBytes);
  const sectorBytes = segment.integer('sector_size');
  if (!SECTOR_SIZES.includes(sectorBytes)) fail(`sectors of ${sectorBytes} bytes`);
  const isDynamic = segment.text('size') === 'dynamic';
  const dataBytes = isDynamic ? undefined : segment.size('size');
  if (dataOffset % 512 !== 0) fail(`the data begins at byte ${dataOffset}`);
  if (dataOffset >= sizeBytes)
    fail(`the data begins at byte ${dataOffset}, behind the end of the disk`);
  if (dataBytes !== undefined && dataBytes > sizeBytes - dataOffset) {
    fail(`${dataBytes} bytes of data at byte ${dataOffset} end behind the end`);
  }
  return {
    ...{ version: 2, keyBytes, sectorBytes, dataOffset, dataBytes },
    cipher: cipherSpec(segment.text('encryption'), keyBytes),
    firstNumber: segment.size('iv_tweak'),
    slots: usable,
  };
}

/**
 * The data may not be where the headers and the key slots are, also those of other digests and those
 * that are free: the guest would write over them.
 */
function checkDataOffset(dataOffset: number, root: JsonObject, headersBytes: number): void {
  if (dataOffset === 0) failDetached(2);
  const ends = root
    .object('keyslots')
    .entries()
    .map(([, slot]) => slot.object('area'))
    .map((area) => area.size('offset') + area.size('size'));
  const end = Math.max(headersBytes + root.object('config').size('keyslots_size'), ...ends);
  if (end > dataOffset) fail(`its data begins at byte ${dataOffset}, its key slots end at ${end}`);
}

function checkRequirements(root: JsonObject): void {
  const requirements = root.object('config').optionalObject('requirements');
  const names = requirements?.optionalNames('mandatory') ?? [];
  if (names.length === 0) return;
  const isReencrypted = names.some((name) => name.includes('reencrypt'));
  const reason = isReencrypted ? ' (it is being encrypted anew: finish that with cryptsetup)' : '';
  const printable = names.map((name) => name.replace(/[^\w-]/g, '?').slice(0, 40)).join(', ');
  throw new StorageError(
    'DISK_FORMAT',
    `LUKS2: it requires what is not supported: ${printable}${reason}`,
  );
}

function onlySegment(root: JsonObject): [string, JsonObject] {
  const segments = root.object('segments').entries();
  if (segments.length !== 1) {
    fail(`${segments.length} segments: only disks of one are supported`);
  }
  const [[name, segment]] = segments;
  if (segment.text('type') !== 'crypt') fail(`a segment of type ${segment.printable('type')}`);
  if (segment.has('integrity')) fail('integrity protection is not supported');
  return [name, segment];
}

/** A slot, and how long the key in it is. */
interface FoundSlot extends KeySlot {
  readonly dataKeyBytes: number;
}

function readSlots(
  root: JsonObject,
  names: readonly string[],
  digest: KeyDigest,
  headersBytes: number,
  dataOffset: number,
): FoundSlot[] {
  const found: { readonly slot: FoundSlot; readonly priority: number }[] = [];
  for (const [name, slot] of root.object('keyslots').entries()) {
    if (!names.includes(name) || slot.text('type') !== 'luks2') continue;
    if (!/^\d{1,2}$/.test(name) || Number(name) >= MAX_SLOTS) fail('a key slot without a number');
    const priority = slot.has('priority') ? slot.integer('priority') : PRIORITY_NORMAL;
    const isHidden = priority === PRIORITY_IGNORE;
    const read = readSlot(Number(name), slot, digest, headersBytes, dataOffset);
    found.push({ slot: { ...read, isHidden }, priority });
  }
  return found.sort((one, other) => other.priority - one.priority).map(({ slot }) => slot);
}

function readSlot(
  number: number,
  slot: JsonObject,
  digest: KeyDigest,
  headersBytes: number,
  dataOffset: number,
): Omit<FoundSlot, 'isHidden'> {
  const area = slot.object('area');
  const stripe = slot.object('af');
  const dataKeyBytes = slot.integer('key_size');
  if (dataKeyBytes < 1 || dataKeyBytes > MAX_KEY_BYTES) fail(`a key of ${dataKeyBytes} bytes`);
  if (area.text('type') !== 'raw') fail(`a key slot in ${area.printable('type')}`);
  if (stripe.text('type') !== 'luks1') fail(`a key slot of ${stripe.printable('type')}`);
  const stripes = stripe.integer('stripes');
  if (stripes < 1 || stripes > MAX_STRIPES) fail(`key slot ${number} has ${stripes} stripes`);
  const keyBytes = area.integer('key_size');
  const offset = area.size('offset');
  const bytes = slotBytes(dataKeyBytes, stripes);
  if (offset < headersBytes || offset + bytes > dataOffset || bytes > area.size('size')) {
    fail(`key slot ${number} is not between the headers and the data`);
  }
  return {
    ...{ number, keyBytes, offset, stripes, digest, dataKeyBytes },
    derivation: readDerivation(slot.object('kdf')),
    cipher: cipherSpec(area.text('encryption'), keyBytes),
    stripeHash: checkHash(stripe.text('hash')),
  };
}

function readDerivation(kdf: JsonObject): KeyDerivation {
  const type = kdf.text('type');
  if (type === 'pbkdf2') return readPbkdf2(kdf);
  if (type !== 'argon2i' && type !== 'argon2id') fail(`a key by ${kdf.printable('type')}`);
  const derivation: Argon2Parameters = {
    ...{ type, salt: kdf.base64('salt'), time: kdf.integer('time') },
    ...{ memoryKib: kdf.integer('memory'), parallel: kdf.integer('cpus') },
  };
  checkDerivation(derivation);
  return derivation;
}

function readPbkdf2(object: JsonObject): Pbkdf2Parameters {
  const hash = checkHash(object.text('hash'));
  const salt = object.base64('salt');
  const derivation = {
    type: 'pbkdf2',
    hash,
    salt,
    iterations: object.integer('iterations'),
  } as const;
  checkDerivation(derivation);
  return derivation;
}

function readDigest(digest: JsonObject): KeyDigest {
  if (digest.text('type') !== 'pbkdf2') fail(`a digest by ${digest.printable('type')}`);
  return { derivation: readPbkdf2(digest), value: digest.base64('digest') };
}
