/**
 * The header of a qcow2 image, checked: whoever made the image is not trusted. Facts are from QEMU's
 * docs/interop/qcow2; limits that it does not have are QEMU's.
 */
import { readBig } from './big-endian.ts';
import { backingOf, type NamedBacking } from './header-extensions.ts';
import { refuse } from './refusal.ts';

const MAGIC = 0x514649fb;
export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
/** Bytes of the largest L1 table and refcount table that QEMU takes. */
const MAX_L1_BYTES = 32 * 2 ** 20;
const MAX_REFCOUNT_TABLE_BYTES = 8 * 2 ** 20;
const SECTOR_BYTES = 512;
const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 104;
/** Enough of the image to know how long its header cluster is. */
export const HEADER_START_BYTES: number = 512;

/** Where fields that are written lie in the header. */
export const HeaderField = { REFCOUNT_TABLE: 48, INCOMPATIBLE: 72, AUTOCLEAR: 88 } as const;

/** Bits of `incompatible_features`. */
export const Incompatible = {
  DIRTY: 1,
  CORRUPT: 2,
  EXTERNAL_DATA: 4,
  COMPRESSION_TYPE: 8,
  EXTENDED_L2: 16,
} as const;

/** How an image's compressed clusters are compressed. */
export type Compression = 'zlib' | 'zstd';

/** What the header says. Offsets and sizes in bytes of the image's file. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly backing: NamedBacking | undefined;
  readonly clusterBits: number;
  /** Of the disk, in whole sectors. */
  readonly sizeBytes: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  /** Refcounts may be wrong. */
  readonly isDirty: boolean;
  /** Somebody has found the image damaged. */
  readonly isCorrupt: boolean;
  /** Features that whoever writes and does not know them has to clear. */
  readonly hasAutoclear: boolean;
  /** A refcount has 2 ** refcountOrder bits. */
  readonly refcountOrder: number;
  readonly compression: Compression;
}

/** Bytes of the first cluster, in which the header with all that belongs to it lies. */
export function headerClusterBytes(start: Buffer, name: string): number {
  if (start.length < HEADER_START_BYTES || start.readUInt32BE(0) !== MAGIC) {
    refuse(name, 'not a qcow2 image; a raw one is written file(...)');
  }
  const clusterBits = start.readUInt32BE(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    const range = `${MIN_CLUSTER_BITS} to ${MAX_CLUSTER_BITS}`;
    refuse(name, `cluster_bits is ${clusterBits}: expected ${range}`);
  }
  return 2 ** clusterBits;
}

/**
 * Throws a `StorageError` DISK_FORMAT that says what is wrong, or not supported.
 *
 * @param bytes - the image's first cluster, or all of the image if that is less.
 * @param fileBytes - size of the image's file.
 */
export function parseHeader(bytes: Buffer, fileBytes: number, name: string): Qcow2Header {
  const clusterBytes = headerClusterBytes(bytes, name);
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) {
    refuse(name, `qcow2 version ${version}: versions 2 and 3 are supported`);
  }
  const cryptMethod = bytes.readUInt32BE(32);
  if (cryptMethod !== 0) {
    const what = ['AES', 'LUKS'][cryptMethod - 1] ?? `method ${cryptMethod}`;
    refuse(
      name,
      `it is encrypted (${what}), which is not supported; decrypt it by qemu-img convert`,
    );
  }
  const headerBytes = headerLength(bytes, version, clusterBytes, name);
  const features = version === 2 ? NO_FEATURES : readFeatures(bytes, headerBytes, name);
  const header = {
    version,
    ...features,
    backing: backingOf(bytes, headerBytes, clusterBytes, name),
    clusterBits: Math.log2(clusterBytes),
    sizeBytes: Math.floor(readBig(bytes, 24) / SECTOR_BYTES) * SECTOR_BYTES,
    l1Entries: bytes.readUInt32BE(36),
    l1Offset: readBig(bytes, 40),
    refcountTableOffset: readBig(bytes, HeaderField.REFCOUNT_TABLE),
    refcountTableClusters: bytes.readUInt32BE(HeaderField.REFCOUNT_TABLE + 8),
    snapshotCount: bytes.readUInt32BE(60),
    snapshotsOffset: readBig(bytes, 64),
  } as const;
  checkTables(header, clusterBytes, fileBytes, name);
  return header;
}

function headerLength(bytes: Buffer, version: number, clusterBytes: number, name: string): number {
  if (version === 2) return V2_HEADER_BYTES;
  const length = bytes.readUInt32BE(100);
  if (length < V3_HEADER_BYTES || length > Math.min(clusterBytes, bytes.length)) {
    refuse(
      name,
      `header_length is ${length}: expected at least ${V3_HEADER_BYTES}, in one cluster`,
    );
  }
  return length;
}

type Features = Pick<
  Qcow2Header,
  'isDirty' | 'isCorrupt' | 'hasAutoclear' | 'refcountOrder' | 'compression'
>;

const NO_FEATURES: Features = {
  isDirty: false,
  isCorrupt: false,
  hasAutoclear: false,
  refcountOrder: 4,
  compression: 'zlib',
};

function readFeatures(bytes: Buffer, headerBytes: number, name: string): Features {
  const incompatible = bytes.readUInt32BE(HeaderField.INCOMPATIBLE + 4);
  const known = Object.values(Incompatible).reduce((all, bit) => all | bit, 0);
  if (bytes.readUInt32BE(HeaderField.INCOMPATIBLE) !== 0 || (incompatible & ~known) !== 0) {
    refuse(name, 'it has features that are not known (incompatible_features): a newer format');
  }
  if ((incompatible & Incompatible.EXTERNAL_DATA) !== 0) {
    refuse(
      name,
      'its data is in an external file, which is not supported; copy it by qemu-img convert',
    );
  }
  if ((incompatible & Incompatible.EXTENDED_L2) !== 0) {
    const hint = 'copy it by qemu-img convert -O qcow2 -o extended_l2=off';
    refuse(name, `it has extended L2 entries (subclusters), which are not supported; ${hint}`);
  }
  const refcountOrder = bytes.readUInt32BE(96);
  if (refcountOrder > 6) refuse(name, `refcount_order is ${refcountOrder}: expected at most 6`);
  return {
    isDirty: (incompatible & Incompatible.DIRTY) !== 0,
    isCorrupt: (incompatible & Incompatible.CORRUPT) !== 0,
    hasAutoclear: readBig(bytes, HeaderField.AUTOCLEAR) !== 0,
    refcountOrder,
    compression: compressionOf(bytes, incompatible, headerBytes, name),
  };
}

function compressionOf(
  bytes: Buffer,
  incompatible: number,
  headerBytes: number,
  name: string,
): Compression {
  const type = headerBytes > V3_HEADER_BYTES ? bytes[104] : 0;
  const hasType = (incompatible & Incompatible.COMPRESSION_TYPE) !== 0;
  if (type > 1 || hasType !== (type !== 0)) {
    refuse(name, `compression_type is ${type}: expected 0 (zlib) or 1 (zstd)`);
  }
  return type === 0 ? 'zlib' : 'zstd';
}

/** What has to be true of the tables before any of them is read. */
function checkTables(
  header: Omit<Qcow2Header, keyof Features | 'backing' | 'version'>,
  clusterBytes: number,
  fileBytes: number,
  name: string,
): void {
  const { sizeBytes, l1Entries, l1Offset, refcountTableClusters, refcountTableOffset } = header;
  if (sizeBytes === 0 || !Number.isSafeInteger(sizeBytes)) {
    refuse(name, `size is ${sizeBytes} bytes: expected some, and less than 2^53`);
  }
  const entryBytes = clusterBytes * (clusterBytes / 8);
  const wanted = Math.ceil(sizeBytes / entryBytes);
  if (l1Entries < wanted || l1Entries * 8 > MAX_L1_BYTES) {
    const range = `${wanted} to ${MAX_L1_BYTES / 8}`;
    refuse(name, `l1_size is ${l1Entries}: expected ${range} for a disk of ${sizeBytes} bytes`);
  }
  const tableBytes = refcountTableClusters * clusterBytes;
  if (refcountTableClusters === 0 || tableBytes > MAX_REFCOUNT_TABLE_BYTES) {
    const most = MAX_REFCOUNT_TABLE_BYTES / clusterBytes;
    refuse(name, `refcount_table_clusters is ${refcountTableClusters}: expected 1 to ${most}`);
  }
  const end = Math.ceil(fileBytes / clusterBytes) * clusterBytes;
  const checkPlace = (field: string, offset: number, length: number): void => {
    if (offset >= clusterBytes && offset % clusterBytes === 0 && offset + length <= end) return;
    refuse(
      name,
      `${field} is ${offset}: expected a cluster's start, in a file of ${fileBytes} bytes`,
    );
  };
  checkPlace('l1_table_offset', l1Offset, l1Entries * 8);
  checkPlace('refcount_table_offset', refcountTableOffset, tableBytes);
  if (
    l1Offset < refcountTableOffset + tableBytes &&
    refcountTableOffset < l1Offset + l1Entries * 8
  ) {
    refuse(name, 'its L1 table and its refcount table overlap');
  }
}
