/**
 * The binary header of LUKS2, big endian, and its two copies (LUKS2 On-Disk Format Specification
 * 1.1.4, 2.1):
 *
 *       0  magic, 6 bytes; of the copy, `SKUL`     104  salt, 64
 *       6  version, 2                              168  UUID, 40
 *       8  header bytes with the JSON area, 8      208  subsystem, 48
 *      16  sequence number, 8                      256  offset of this header, 8
 *      24  label, 48                               448  checksum of the header and the JSON area
 *      72  hash of the checksum, 32                       with zeros here, 64
 *    4096  JSON area, up to the header's bytes
 */
import { createHash } from 'node:crypto';
import { hashBytes, isHash } from './hashes.ts';
import { MAGIC, textAt } from './luks1-header.ts';

/** Of the copy. */
const COPY_MAGIC = Buffer.from('SKUL\xba\xbe', 'latin1');
export const BINARY_HEADER_BYTES = 4096;
const CHECKSUM_OFFSET = 448;
const CHECKSUM_BYTES = 64;

/** Sizes that a header may have (2.2), and so offsets that the copy may have. */
export const HEADER_SIZES: readonly number[] = [
  0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000,
];

/** A header that is as it was written. */
export interface Luks2Header {
  readonly sizeBytes: number;
  /** The copy with the higher one counts. */
  readonly sequence: bigint;
  readonly json: string;
}

/**
 * What the first 4096 bytes say of the whole's size; `undefined`: it is no header of LUKS2, or not
 * that of this offset.
 */
export function headerBytes(start: Buffer, offset: number): number | undefined {
  const magic = offset === 0 ? MAGIC : COPY_MAGIC;
  if (!start.subarray(0, magic.length).equals(magic) || start.readUInt16BE(6) !== 2)
    return undefined;
  const size = HEADER_SIZES.find((each) => BigInt(each) === start.readBigUInt64BE(8));
  const isHere = start.readBigUInt64BE(256) === BigInt(offset);
  // The copy follows the first header at once.
  return isHere && (offset === 0 || size === offset) ? size : undefined;
}

/** @param bytes - all of a header. Returns `undefined` if the checksum is wrong. */
export function readHeader(bytes: Buffer): Luks2Header | undefined {
  const hash = textAt(bytes, 72, 32);
  if (!isHash(hash)) return undefined;
  const checksum = bytes.subarray(CHECKSUM_OFFSET, CHECKSUM_OFFSET + hashBytes(hash));
  if (!checksumOf(bytes, hash).equals(checksum)) return undefined;
  const area = bytes.subarray(BINARY_HEADER_BYTES);
  const end = area.indexOf(0);
  return {
    sizeBytes: bytes.length,
    sequence: bytes.readBigUInt64BE(16),
    json: area.toString('utf8', 0, end === -1 ? area.length : end),
  };
}

function checksumOf(bytes: Buffer, hash: string): Buffer {
  return createHash(hash)
    .update(bytes.subarray(0, CHECKSUM_OFFSET))
    .update(Buffer.alloc(CHECKSUM_BYTES))
    .update(bytes.subarray(CHECKSUM_OFFSET + CHECKSUM_BYTES))
    .digest();
}

/** What is in a new header. */
export interface Luks2Fields {
  readonly sizeBytes: number;
  readonly label: string;
  readonly uuid: string;
  readonly json: string;
  /** One for each of the two copies. */
  readonly salts: readonly [Uint8Array, Uint8Array];
}

/** The bytes of both copies, one after the other. */
export function luks2Headers(fields: Luks2Fields): Buffer {
  const { sizeBytes } = fields;
  return Buffer.concat(
    [MAGIC, COPY_MAGIC].map((magic, copy) => {
      const bytes = Buffer.alloc(sizeBytes);
      magic.copy(bytes);
      bytes.writeUInt16BE(2, 6);
      bytes.writeBigUInt64BE(BigInt(sizeBytes), 8);
      bytes.writeBigUInt64BE(1n, 16);
      bytes.write(fields.label, 24, 47);
      bytes.write('sha256', 72);
      bytes.set(fields.salts[copy], 104);
      bytes.write(fields.uuid, 168);
      bytes.writeBigUInt64BE(BigInt(copy * sizeBytes), 256);
      bytes.write(fields.json, BINARY_HEADER_BYTES);
      checksumOf(bytes, 'sha256').copy(bytes, CHECKSUM_OFFSET);
      return bytes;
    }),
  );
}
