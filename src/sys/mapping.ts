/**
 * Memory mapped into this process, with a lifetime.
 *
 * SAFETY: an ArrayBuffer over mapped memory cannot be detached, and reading one after munmap is a
 * segmentation fault. So `close()` does not unmap: it lays fresh anonymous pages over the range
 * (the old contents are let go at once; a stale view reads zeros and writes nowhere), and the
 * range itself is unmapped once the garbage collector has found the last view dead. A mapping may
 * be used by several threads: each has a `Mapping` of its own, made by `adopt()`, and a count in
 * shared memory tells the last one to unmap.
 */
import { strict as assert } from 'node:assert';
import { FileSystemMagic, Mmap } from './constants.ts';
import { call } from './errors.ts';
import { libc, viewMemory } from './libc.ts';
import { MAX_PAGE_BYTES } from './platform.ts';
import { noteRange, strikeRange } from './thread-ledger.ts';

/** Longest single view, in bytes: Node 20 aborts on 4 GiB, and indices below 2^31 stay integers. */
export const MAX_VIEW_BYTES: number = 2 ** 30;

/** More than struct statfs takes. */
const STATFS_BYTES = 256;

/** What another thread needs to use a mapping of this one. Good for exactly one `adopt()`. */
export interface MappingHandle {
  readonly address: number;
  readonly sizeBytes: number;
  readonly rangeStart: number;
  readonly rangeBytes: number;
  readonly references: SharedArrayBuffer;
}

/** The address range behind a mapping, as this thread sees it. */
class Range {
  readonly start: number;
  readonly sizeBytes: number;
  /** How many threads still hold the range. */
  readonly references: Int32Array;
  liveViews = 0;
  closed = false;

  constructor(start: number, sizeBytes: number, references: Int32Array) {
    this.start = start;
    this.sizeBytes = sizeBytes;
    this.references = references;
  }

  /** Unmap when this thread and all others have let go. */
  releaseIfUnused(): void {
    if (!this.closed || this.liveViews > 0) return;
    if (Atomics.sub(this.references, 0, 1) !== 1) return;
    strikeRange(this.start);
    libc.munmap(this.start, this.sizeBytes);
  }
}

const viewRegistry = new FinalizationRegistry<Range>((range) => {
  range.liveViews -= 1;
  range.releaseIfUnused();
});

/** How often to ask for memory that cannot be done without. */
const MAX_ATTEMPTS = 3;

/** A range of mapped memory. */
export class Mapping implements Disposable {
  /** Address of the first byte, a safe integer. */
  readonly address: number;
  readonly sizeBytes: number;
  readonly #range: Range;
  readonly #isOwner: boolean;

  private constructor(address: number, sizeBytes: number, range: Range, isOwner: boolean) {
    this.address = address;
    this.sizeBytes = sizeBytes;
    this.#range = range;
    this.#isOwner = isOwner;
  }

  /** Fresh private zeroed memory, page-aligned; pages cost nothing until touched. */
  static anonymous(sizeBytes: number): Mapping {
    const flags = Mmap.PRIVATE | Mmap.ANONYMOUS | Mmap.NORESERVE;
    return Mapping.#map(sizeBytes, 0, flags, -1, 0);
  }

  /**
   * A part of a file, shared with everybody who maps it. `offsetBytes` need not be page-aligned.
   * The caller has checked that the file is long enough: a page beyond its end is a SIGBUS.
   */
  static ofFile(fd: number, offsetBytes: number, sizeBytes: number): Mapping {
    const hugePageBytes = hugePageSize(fd);
    const lead = offsetBytes % (hugePageBytes ?? MAX_PAGE_BYTES);
    // Huge pages are mapped and unmapped whole; for others the kernel rounds up by itself.
    const granuleBytes = hugePageBytes ?? 1;
    const length = Math.ceil((lead + sizeBytes) / granuleBytes) * granuleBytes;
    return Mapping.#map(length, lead, Mmap.SHARED, fd, offsetBytes - lead, sizeBytes);
  }

  static #map(
    rangeBytes: number,
    lead: number,
    flags: number,
    fd: number,
    offset: number,
    sizeBytes: number = rangeBytes,
  ): Mapping {
    assert(sizeBytes > 0, 'a mapping has at least one byte');
    const protection = Mmap.PROT_READ | Mmap.PROT_WRITE;
    const start = call('mmap', 0, rangeBytes, protection, flags, fd, offset);
    const references = new Int32Array(new SharedArrayBuffer(4));
    references[0] = 1;
    noteRange(start, rangeBytes);
    return new Mapping(start + lead, sizeBytes, new Range(start, rangeBytes, references), true);
  }

  /** Take over a handle made by another thread's `handle()`. */
  static adopt(handle: MappingHandle): Mapping {
    const references = new Int32Array(handle.references);
    const range = new Range(handle.rangeStart, handle.rangeBytes, references);
    return new Mapping(handle.address, handle.sizeBytes, range, false);
  }

  /** A handle for another thread, which must `adopt()` and in the end `close()` it. */
  handle(): MappingHandle {
    assert(!this.#range.closed, 'use of a closed mapping');
    strikeRange(this.#range.start);
    Atomics.add(this.#range.references, 0, 1);
    return {
      address: this.address,
      sizeBytes: this.sizeBytes,
      rangeStart: this.#range.start,
      rangeBytes: this.#range.sizeBytes,
      references: this.#range.references.buffer as SharedArrayBuffer,
    };
  }

  /** An ArrayBuffer over a part of the mapping, at most `MAX_VIEW_BYTES` long. */
  view(offsetBytes: number, sizeBytes: number): ArrayBuffer {
    assert(!this.#range.closed, 'use of a closed mapping');
    assert(sizeBytes > 0 && sizeBytes <= MAX_VIEW_BYTES, `view of ${sizeBytes} bytes`);
    assert(offsetBytes >= 0 && offsetBytes + sizeBytes <= this.sizeBytes, 'view out of bounds');
    const buffer = viewMemory(this.address + offsetBytes, sizeBytes);
    this.#range.liveViews += 1;
    viewRegistry.register(buffer, this.#range);
    return buffer;
  }

  /**
   * Let the memory go. When the owner closes, every view of every thread shows zeros from then on;
   * when an adopter closes, only its own claim ends. Closing twice is harmless.
   */
  close(): void {
    const range = this.#range;
    if (range.closed) return;
    range.closed = true;
    const isLastUse = range.liveViews === 0 && Atomics.load(range.references, 0) === 1;
    if (this.#isOwner && !isLastUse) replaceByZeros(range);
    range.releaseIfUnused();
  }

  /**
   * End this thread's claim, and nothing else: other threads go on with the memory as it is, and
   * views of this one show it until they are garbage. For memory that nobody can take away.
   */
  leave(): void {
    const range = this.#range;
    if (range.closed) return;
    range.closed = true;
    range.releaseIfUnused();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Lay fresh pages over a range. Where the kernel has no memory for that it may have unmapped the
 * range by then, and somebody has views of it: to go on without would be a crash later.
 */
function replaceByZeros({ start, sizeBytes }: Range): void {
  const flags = Mmap.PRIVATE | Mmap.ANONYMOUS | Mmap.NORESERVE | Mmap.FIXED;
  const protection = Mmap.PROT_READ | Mmap.PROT_WRITE;
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
    if (libc.mmap(start, sizeBytes, protection, flags, -1, 0) !== -1) return;
  }
  call('mmap', start, sizeBytes, protection, flags, -1, 0);
}

/** Size of the huge pages a file consists of, if it lies on hugetlbfs. */
function hugePageSize(fd: number): number | undefined {
  const statfs = new DataView(new ArrayBuffer(STATFS_BYTES));
  call('fstatfs', fd, statfs);
  const isHuge = statfs.getUint32(0, true) === FileSystemMagic.HUGETLBFS;
  return isHuge ? statfs.getUint32(8, true) : undefined;
}
