/** Makes empty qcow2 images. */
import { open, rm } from 'node:fs/promises';
import { errnoMessage } from '../../sys/index.ts';
import { StorageError } from '../errors.ts';
import type { BackingFormat } from './backing-file.ts';
import { writeBig } from './big-endian.ts';
import { type Compression, MAX_CLUSTER_BITS, MIN_CLUSTER_BITS } from './header.ts';
import { ENTRY_BYTES } from './layout.ts';
import { writeRefcount } from './refcount-entries.ts';

const MAGIC = 0x514649fb;
const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 112;
const BACKING_FORMAT = 0xe2792aca;
const MAX_L1_BYTES = 32 * 2 ** 20;
const COMPRESSION_TYPE_BIT = 8;

/** What image is to be made. */
export interface CreateQcow2Options {
  /** Size of the disk: a positive multiple of 512. */
  readonly sizeBytes: number;
  /** A power of two from 512 to 2 MiB. Default: 65536. */
  readonly clusterBytes?: number;
  /** Default: 3. */
  readonly version?: 2 | 3;
  /** A power of two from 1 to 64; 16 in version 2. Default: 16. */
  readonly refcountBits?: number;
  /** Of clusters that others compress. Default: `zlib`. */
  readonly compression?: Compression;
  /** Its path, absolute or relative to the image's folder. It need not be there yet. */
  readonly backing?: { readonly path: string; readonly format: BackingFormat };
}

/** An image's parts, in clusters. */
interface Plan {
  readonly clusterBytes: number;
  readonly refcountOrder: number;
  readonly tableClusters: number;
  readonly blocks: number;
  readonly l1Entries: number;
  readonly l1Cluster: number;
  /** All of it. */
  readonly clusters: number;
}

/**
 * Make an image at a path where nothing is yet. Rejects with a `StorageError`: DISK_OPTION if such an
 * image cannot be, DISK_OPEN_FAILED if it cannot be written.
 */
export async function createQcow2(path: string, options: CreateQcow2Options): Promise<void> {
  const plan = planOf(options);
  const start = startOf(options, plan);
  try {
    const file = await open(path, 'wx');
    try {
      await file.write(start, 0, start.length, 0);
      await file.truncate(plan.clusters * plan.clusterBytes);
    } catch (error) {
      await rm(path);
      throw error;
    } finally {
      await file.close();
    }
  } catch (error) {
    const errno = Math.abs((error as NodeJS.ErrnoException).errno ?? 0);
    const message = `cannot make ${path}: ${errnoMessage(errno)}`;
    throw new StorageError('DISK_OPEN_FAILED', message, { cause: error });
  }
}

function fail(problem: string): never {
  throw new StorageError('DISK_OPTION', `qcow2 image: ${problem}`);
}

/** The logarithm of a power of two in a range. */
function logarithm(name: string, value: number, least: number, most: number): number {
  const log = Math.log2(value);
  if (Number.isInteger(log) && log >= least && log <= most) return log;
  return fail(`${name} is ${value}: expected a power of two from ${2 ** least} to ${2 ** most}`);
}

function planOf(options: CreateQcow2Options): Plan {
  const { sizeBytes, clusterBytes = 65536, version = 3, refcountBits = 16 } = options;
  logarithm('clusterBytes', clusterBytes, MIN_CLUSTER_BITS, MAX_CLUSTER_BITS);
  const refcountOrder = logarithm('refcountBits', refcountBits, 0, 6);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
    fail(`sizeBytes is ${sizeBytes}: expected a positive multiple of 512`);
  }
  if (version === 2 && (refcountBits !== 16 || options.compression === 'zstd')) {
    fail('version 2 has refcounts of 16 bits, and zlib');
  }
  const l1Entries = Math.ceil(sizeBytes / (clusterBytes * (clusterBytes / ENTRY_BYTES)));
  if (l1Entries * ENTRY_BYTES > MAX_L1_BYTES) {
    fail(`sizeBytes is ${sizeBytes}: too large for clusters of ${clusterBytes} bytes`);
  }
  const l1Clusters = Math.ceil((l1Entries * ENTRY_BYTES) / clusterBytes);
  const perBlock = (clusterBytes * 8) / refcountBits;
  let [blocks, tableClusters] = [1, 1];
  for (;;) {
    const clusters = 1 + tableClusters + blocks + l1Clusters;
    const needed = Math.ceil(clusters / perBlock);
    if (needed <= blocks) {
      const l1Cluster = 1 + tableClusters + blocks;
      return { clusterBytes, refcountOrder, tableClusters, blocks, l1Entries, l1Cluster, clusters };
    }
    blocks = needed;
    tableClusters = Math.ceil((blocks * ENTRY_BYTES) / clusterBytes);
  }
}

/** All up to the L1 table, which is zeros. */
function startOf(options: CreateQcow2Options, plan: Plan): Buffer {
  const { clusterBytes, tableClusters, blocks, clusters, refcountOrder } = plan;
  const bytes = Buffer.alloc((1 + tableClusters + blocks) * clusterBytes);
  writeHeader(bytes.subarray(0, clusterBytes), options, plan);
  const perBlock = (clusterBytes * 8) / 2 ** refcountOrder;
  for (let block = 0; block < blocks; block++) {
    const offset = (1 + tableClusters + block) * clusterBytes;
    writeBig(bytes, clusterBytes + block * ENTRY_BYTES, offset);
    const counts = bytes.subarray(offset, offset + clusterBytes);
    const used = Math.min(perBlock, clusters - block * perBlock);
    for (let entry = 0; entry < used; entry++) writeRefcount(counts, entry, refcountOrder, 1);
  }
  return bytes;
}

function writeHeader(bytes: Buffer, options: CreateQcow2Options, plan: Plan): void {
  const { version = 3, backing, compression = 'zlib' } = options;
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(version, 4);
  bytes.writeUInt32BE(Math.log2(plan.clusterBytes), 20);
  writeBig(bytes, 24, options.sizeBytes);
  bytes.writeUInt32BE(plan.l1Entries, 36);
  writeBig(bytes, 40, plan.l1Cluster * plan.clusterBytes);
  writeBig(bytes, 48, plan.clusterBytes);
  bytes.writeUInt32BE(plan.tableClusters, 56);
  if (version === 3) {
    bytes.writeUInt32BE(compression === 'zstd' ? COMPRESSION_TYPE_BIT : 0, 76);
    bytes.writeUInt32BE(plan.refcountOrder, 96);
    bytes.writeUInt32BE(V3_HEADER_BYTES, 100);
    bytes[104] = compression === 'zstd' ? 1 : 0;
  }
  if (backing === undefined) return;
  const headerBytes = version === 3 ? V3_HEADER_BYTES : V2_HEADER_BYTES;
  const format = Buffer.from(backing.format);
  bytes.writeUInt32BE(BACKING_FORMAT, headerBytes);
  bytes.writeUInt32BE(format.length, headerBytes + 4);
  format.copy(bytes, headerBytes + 8);
  const name = Buffer.from(backing.path);
  // Behind the extension and the one that ends them.
  const at = headerBytes + 8 + Math.ceil(format.length / 8) * 8 + 8;
  if (name.length === 0 || name.length > 1023 || at + name.length > bytes.length) {
    fail(
      `the path of its backing file has ${name.length} bytes: expected 1 to 1023, in one cluster`,
    );
  }
  writeBig(bytes, 8, at);
  bytes.writeUInt32BE(name.length, 16);
  name.copy(bytes, at);
}
