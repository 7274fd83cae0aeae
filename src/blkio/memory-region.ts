/**
 * Memory that a device can reach without copying: a piece of a file, shared between this process
 * and a back-end. Allocated here, or brought by the user (a memfd, a shared mapping).
 */
import { fstatSync } from 'node:fs';

import { createMemfd, Fd, MAX_VIEW_BYTES, Mapping, sealSize } from '../sys/index.ts';

import { BlkioError } from './errors.ts';

/** Regions by the buffers that show them. */
const regionsOfBuffers = new WeakMap<ArrayBufferLike, { region: MemoryRegion; address: number }>();

/** See the module's comment. */
export class MemoryRegion implements Disposable {
  /** Address of the first byte in this process; back-ends know the region by it, too. */
  readonly address: number;
  readonly sizeBytes: number;
  /** The file and where in it the region starts. */
  readonly file: Fd;
  readonly fdOffsetBytes: number;
  readonly #mapping: Mapping;
  readonly #owned: Fd | undefined;

  /** Fresh memory, zeroed; pages cost nothing until touched. */
  static allocate(sizeBytes: number): MemoryRegion {
    checkSize(sizeBytes);
    const fd = createMemfd('blkio-region', sizeBytes);
    sealSize(fd);
    return new MemoryRegion(fd.number, 0, sizeBytes, fd);
  }

  /**
   * Part of a file that can be shared: a memfd, a file on tmpfs or hugetlbfs. The descriptor stays
   * the caller's, and open as long as the region is mapped to a device. The file must keep its
   * size: to touch memory that it has lost ends the process.
   *
   * @throws BlkioError EINVAL: the file has no such part; EBADF: no such descriptor.
   */
  static ofFile(fd: number, offsetBytes: number, sizeBytes: number): MemoryRegion {
    checkSize(sizeBytes);
    checkPart(fd, offsetBytes, sizeBytes);
    return new MemoryRegion(fd, offsetBytes, sizeBytes, undefined);
  }

  private constructor(fd: number, offsetBytes: number, sizeBytes: number, owned: Fd | undefined) {
    this.#mapping = Mapping.ofFile(fd, offsetBytes, sizeBytes);
    this.#owned = owned;
    this.address = this.#mapping.address;
    this.sizeBytes = sizeBytes;
    this.file = owned ?? new Fd(fd, 'memory region');
    this.fdOffsetBytes = offsetBytes;
  }

  /**
   * A part of the region to read into or write from, at most 1 GiB. Parts of such parts
   * (`subarray`) will do as well.
   */
  view(offsetBytes: number, sizeBytes: number): Uint8Array {
    const end = offsetBytes + sizeBytes;
    const isWhole = Number.isInteger(offsetBytes) && Number.isInteger(sizeBytes);
    if (!(isWhole && offsetBytes >= 0 && sizeBytes > 0 && end <= this.sizeBytes)) {
      throw new BlkioError('EINVAL', `bytes ${offsetBytes} to ${end} are not in the region`);
    }
    if (sizeBytes > MAX_VIEW_BYTES) {
      throw new BlkioError('EINVAL', `a view of ${sizeBytes} bytes: at most ${MAX_VIEW_BYTES}`);
    }
    const buffer = this.#mapping.view(offsetBytes, sizeBytes);
    regionsOfBuffers.set(buffer, { region: this, address: this.address + offsetBytes });
    return new Uint8Array(buffer);
  }

  /** Let the memory go. Unmap it from devices first. */
  [Symbol.dispose](): void {
    this.#mapping.close();
    this.#owned?.close();
  }
}

function checkSize(sizeBytes: number): void {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0) return;
  throw new BlkioError('EINVAL', `a memory region of ${sizeBytes} bytes`);
}

function checkPart(fd: number, offsetBytes: number, sizeBytes: number): void {
  const isPlace = Number.isSafeInteger(offsetBytes) && offsetBytes >= 0;
  if (!isPlace) throw new BlkioError('EINVAL', `offset ${offsetBytes} of a memory region`);
  const end = offsetBytes + sizeBytes;
  const fileBytes = sizeOfFile(fd);
  if (end <= fileBytes) return;
  throw new BlkioError('EINVAL', `bytes ${offsetBytes} to ${end} of a file of ${fileBytes}`);
}

function sizeOfFile(fd: number): number {
  try {
    return fstatSync(fd).size;
  } catch (error) {
    throw new BlkioError('EBADF', `descriptor ${fd} of a memory region`, { cause: error });
  }
}

/** The regions that are mapped to one device. */
export class MappedRegions {
  readonly #regions = new Set<MemoryRegion>();
  /** The buffer looked up last, and the address of its first byte. */
  #lastBuffer: ArrayBufferLike | undefined;
  #lastAddress = 0;

  get size(): number {
    return this.#regions.size;
  }

  has(region: MemoryRegion): boolean {
    return this.#regions.has(region);
  }

  add(region: MemoryRegion): void {
    this.#regions.add(region);
  }

  delete(region: MemoryRegion): void {
    this.#regions.delete(region);
    this.#lastBuffer = undefined;
  }

  [Symbol.iterator](): IterableIterator<MemoryRegion> {
    return this.#regions.values();
  }

  /** Address of a buffer's first byte, 0 if it lies in none of the regions. */
  addressOf(view: Uint8Array): number {
    const { buffer } = view;
    if (buffer !== this.#lastBuffer) {
      const found = regionsOfBuffers.get(buffer);
      if (found === undefined || !this.#regions.has(found.region)) return 0;
      this.#lastBuffer = buffer;
      this.#lastAddress = found.address;
    }
    return this.#lastAddress + view.byteOffset;
  }
}
