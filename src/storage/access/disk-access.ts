/**
 * A disk for code that uses it: bytes at offsets, in buffers of its own. The way into the disk
 * below for disks and filters that take promises, and for programs.
 */
import type { DiskInfo } from '../disk.ts';

/** How a request is to be done; see `ObjectRequest`. */
export interface AccessOptions {
  readonly stable?: boolean;
  readonly mayUnmap?: boolean;
  readonly mustBeFast?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * See the module's comment. Ranges are of whole blocks of `info.logicalBlockBytes`, or end where the
 * disk does, and lie within the disk, else requests fail with EINVAL. What is done on the spot
 * returns nothing, the rest a promise; both fail with an error whose `code` is that of a system error.
 * Requests under way at the same time that touch the same bytes are the caller's to order.
 */
export interface DiskAccess {
  readonly info: DiskInfo;
  /** Its size as of now. */
  currentSizeBytes(): number;
  /**
   * Have `listener` called when that may have changed, as long as the disk is open: a disk that is as
   * large as this one emits `resize` then. Not all disks know.
   */
  onResize(listener: () => void): void;
  read(buffer: Uint8Array, offset: number, options?: AccessOptions): void | Promise<void>;
  /** Fails with EROFS if the disk is read-only. */
  write(buffer: Uint8Array, offset: number, options?: AccessOptions): void | Promise<void>;
  /** Nothing, on disks that have nothing to flush. */
  flush(options?: AccessOptions): void | Promise<void>;
  /** Nothing, on disks that cannot. */
  discard(offset: number, length: number, options?: AccessOptions): void | Promise<void>;
  /** By writing zeros, on disks that have no better way, unless it has to be fast. */
  writeZeroes(offset: number, length: number, options?: AccessOptions): void | Promise<void>;
  /** Resolves when no request is under way. */
  idle(): Promise<void>;
  /** End the access; the disk stays open. No request is under way. */
  close(): void;
}
