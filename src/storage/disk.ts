/**
 * What a disk is: a fixed number of bytes that can be read, and perhaps written.
 *
 * A disk is opened once per process, in the main thread, which checks and reports everything that
 * can be wrong with it. Each reactor that serves it gets a `Disk` of its own (`share` here,
 * `adoptDisk` there), and each queue a `DiskChannel`: its way to get requests done.
 *
 * The data path neither allocates nor throws nor awaits: a request is a slot number of a
 * `DiskRequests` table, a result is 0 or a negative errno.
 */
import type { Reactor } from '../sys/index.ts';
import type { DiskRequests } from './disk-requests.ts';
import type { FileDiskHandle } from './file/file-disk.ts';
import type { NullDiskHandle } from './null-disk.ts';

/** What a disk says of itself. Sizes in bytes. */
export interface DiskInfo {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Smallest unit of reading and writing: a power of two, at least 512. */
  readonly logicalBlockBytes: number;
  /** Unit the disk can write without reading first: a power of two, at least the logical block. */
  readonly physicalBlockBytes: number;
  /** Preferred granularity of requests, and preferred size for throughput; 0: no preference. */
  readonly minIoBytes: number;
  readonly optimalIoBytes: number;
  readonly canDiscard: boolean;
  readonly canWriteZeroes: boolean;
  /** Completed writes may still be in a volatile cache until a flush, unless told otherwise. */
  readonly writeBack: boolean;
}

/** Told about requests that `start` left pending. */
export interface DiskRequestHandler {
  /** @param result - 0, or a negative errno. Called once for each, from the reactor's turn. */
  onDiskDone(slot: number, result: number): void;
}

/** One queue's way into a disk, on one reactor. */
export interface DiskChannel {
  /**
   * Do the request in a slot. All of it: short transfers are finished here, reads past the end of
   * the underlying file give zeros. The request lies within the disk, and writes come only to a
   * disk that is not read-only: the caller has checked.
   *
   * @returns 0 or a negative errno if it is done already, else `PENDING` (of `sys`).
   */
  start(slot: number): number;
  /** No request may be pending. */
  close(): void;
}

/** The right to use a disk that several processes have open, of which one at a time has it. */
export interface DiskClaim {
  /** Throws a `StorageError` DISK_IN_USE if another process has it. */
  acquire(): void;
  release(): void;
}

/** An open disk, as one thread sees it. */
export interface Disk {
  readonly info: DiskInfo;
  /** Its size as of now, in whole sectors; `info` has that of when it was opened. */
  currentSizeBytes(): number;
  /** To have while requests are made; absent: the right came with opening the disk. */
  readonly claim?: DiskClaim | undefined;
  /** One line for the log: what it is and how it is reached, with reasons. */
  readonly description: string;
  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel;
  /** For `adoptDisk` in another thread. The disk must stay open as long as that one uses it. */
  share(): DiskHandle;
  /** All channels are closed. */
  close(): void;
}

/** What another thread needs to use a disk. */
export type DiskHandle = FileDiskHandle | NullDiskHandle;
