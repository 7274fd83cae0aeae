/**
 * The disk that a qcow2 image is in, as a file of bytes: what lies behind its end reads as zeros, and
 * it grows where the disk can.
 */
import { Errno, SystemError } from '../../sys/index.ts';
import type { DiskAccess } from '../access/disk-access.ts';
import type { Disk } from '../disk.ts';

/** The file grows by no less: it is asked of the disk below once for many clusters. */
const GROWTH_BYTES = 2 ** 20;
/** Zeros are written in pieces of at most this size. */
const ZEROS_BYTES = 2 ** 20;
/** Numbers of bytes beyond this are no safe integers. */
const MAX_BYTES = 2 ** 53;

type Settled = void | Promise<void>;

/** See the module's comment. Whoever reads or writes keeps to multiples of `blockBytes`. */
export class ImageFile {
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly #disk: Disk;
  readonly #access: DiskAccess;
  #sizeBytes: number;

  constructor(disk: Disk, access: DiskAccess) {
    this.#disk = disk;
    this.#access = access;
    this.blockBytes = disk.info.logicalBlockBytes;
    this.readOnly = disk.info.readOnly;
    this.#sizeBytes = disk.currentSizeBytes();
  }

  /** What can be read and written now; what is added by growing reads as zeros. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** How large it can become, in bytes. */
  get limitBytes(): number {
    return this.#disk.grow === undefined ? this.#sizeBytes : MAX_BYTES;
  }

  read(buffer: Uint8Array, offset: number): Settled {
    const there = Math.max(0, Math.min(buffer.length, this.#sizeBytes - offset));
    if (there === buffer.length) return this.#access.read(buffer, offset);
    buffer.fill(0, there);
    return this.#access.read(buffer.subarray(0, there), offset);
  }

  /** Fails with EIO behind the end: see `reach`. */
  write(buffer: Uint8Array, offset: number): Settled {
    if (offset + buffer.length > this.#sizeBytes) throw new SystemError('write', Errno.EIO);
    return this.#access.write(buffer, offset);
  }

  async writeZeros(offset: number, length: number): Promise<void> {
    const zeros = Buffer.alloc(Math.min(length, ZEROS_BYTES));
    for (let at = 0; at < length; at += zeros.length) {
      await this.write(zeros.subarray(0, Math.min(zeros.length, length - at)), offset + at);
    }
  }

  /** Have it reach to `endBytes`. Fails with ENOSPC, or what the disk below fails with. */
  reach(endBytes: number): void {
    if (endBytes <= this.#sizeBytes) return;
    const { grow } = this.#disk;
    if (grow === undefined || endBytes > MAX_BYTES) throw new SystemError('write', Errno.ENOSPC);
    const wanted = Math.ceil(endBytes / GROWTH_BYTES) * GROWTH_BYTES;
    grow.call(this.#disk, wanted);
    this.#sizeBytes = wanted;
  }

  /** All that has been written is safe when this settles. */
  barrier(): Settled {
    return this.#access.flush();
  }

  /** Nobody needs the range any more. */
  async discard(offset: number, length: number): Promise<void> {
    const end = Math.min(offset + length, this.#sizeBytes);
    if (end > offset) await this.#access.discard(offset, end - offset);
  }

  close(): void {
    this.#access.close();
  }
}
