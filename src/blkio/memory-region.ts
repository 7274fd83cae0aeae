/**
 * Memory that a device can reach without copying: a piece of a file, shared between this process
 * and a back-end. Allocated here, or brought by the user (a memfd, a shared mapping).
 */
import { fstatSync } from 'node:fs';

import {
  createMemfd,
  duplicateFd,
  Fd,
  MAX_VIEW_BYTES,
  Mapping,
  type MappingHandle,
  sealSize,
} from '../sys/index.ts';

import { BlkioError } from './errors.ts';

/** Where a buffer is: the address of its first byte, and of that of its region. */
export interface BufferPlace {
  /** Of its first byte, in halves: a whole one would be boxed. */
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly regionAddress: number;
  /** Who found last that a device reaches it, and in which state of that one's list. */
  finder: unknown;
  found: number;
}

/** By the buffers that show regions. */
const places = new WeakMap<ArrayBufferLike, BufferPlace>();

/** Where a buffer is; undefined: in no region of this thread. */
export function placeOfBuffer(buffer: ArrayBufferLike): BufferPlace | undefined {
  return places.get(buffer);
}

/** A region for another thread: plain data, good for one `MemoryRegion.adopt`. */
export interface MemoryRegionHandle {
  readonly mapping: MappingHandle;
  /** The adopter's own. */
  readonly fd: number;
  readonly fdOffsetBytes: number;
}

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
  #isShared = false;

  /** Fresh memory, zeroed; pages cost nothing until touched. */
  static allocate(sizeBytes: number): MemoryRegion {
    checkSize(sizeBytes);
    const fd = createMemfd('blkio-region', sizeBytes);
    sealSize(fd);
    return new MemoryRegion(Mapping.ofFile(fd.number, 0, sizeBytes), fd, 0, fd);
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
    const mapping = Mapping.ofFile(fd, offsetBytes, sizeBytes);
    return new MemoryRegion(mapping, new Fd(fd, 'memory region'), offsetBytes, undefined);
  }

  /**
   * The same memory for this thread: where devices have the region mapped, they reach it through
   * buffers of either thread. Each thread lets its region go by itself.
   */
  static adopt(handle: MemoryRegionHandle): MemoryRegion {
    const file = new Fd(handle.fd, 'memory region');
    return new MemoryRegion(Mapping.adopt(handle.mapping), file, handle.fdOffsetBytes, file);
  }

  private constructor(mapping: Mapping, file: Fd, fdOffsetBytes: number, owned: Fd | undefined) {
    this.#mapping = mapping;
    this.#owned = owned;
    this.address = mapping.address;
    this.sizeBytes = mapping.sizeBytes;
    this.file = file;
    this.fdOffsetBytes = fdOffsetBytes;
  }

  /** For another thread, which must `adopt` it, and in the end dispose of what it gets. */
  share(): MemoryRegionHandle {
    this.#isShared = true;
    const { number } = duplicateFd(this.file.number, 'memory region');
    return { mapping: this.#mapping.handle(), fd: number, fdOffsetBytes: this.fdOffsetBytes };
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
    const address = this.address + offsetBytes;
    places.set(buffer, {
      addressLow: address | 0,
      addressHigh: (address / 2 ** 32) | 0,
      regionAddress: this.address,
      finder: undefined,
      found: 0,
    });
    return new Uint8Array(buffer);
  }

  /** Let the memory go. Unmap it from devices first. */
  [Symbol.dispose](): void {
    // Others may be at work there: they are not to find zeros all of a sudden.
    if (this.#isShared) this.#mapping.leave();
    else this.#mapping.close();
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
