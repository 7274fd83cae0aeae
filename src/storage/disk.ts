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
import type { Logger, Reactor } from '../sys/index.ts';
import type { DiskAccess } from './access/disk-access.ts';
import type { DiskRequests } from './disk-requests.ts';
import type { JoinedDiskHandle } from './disks/joined-disk.ts';
import type { NullDiskHandle } from './disks/null-disk.ts';
import type { PatternDiskHandle } from './disks/pattern-disk.ts';
import type { FileDiskHandle } from './file/file-disk.ts';
import type { FilterHandle } from './filters/filter-handle.ts';

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
   * an underlying file whose last sector is there in part give zeros. The request lies within the
   * disk, and writes come only to a disk that is not read-only: the caller has checked.
   *
   * @returns 0 or a negative errno if it is done already, else `PENDING` (of `sys`).
   */
  start(slot: number): number;
  /**
   * Have the pending requests end soon, and start nothing more for them: one that is not done, or
   * not all of it, is reported with -ECANCELED. Of none that has been reported goes anything on; it
   * may be done again elsewhere. Absent: they end when they are done.
   */
  abandon?(): void;
  /**
   * The queue comes to its end: have what only waits for its time done now, and whatever else comes
   * at once. Absent: nothing waits.
   *
   * @param nobodyWaits - for the answers: what can be given up may end with -ECANCELED.
   */
  hasten?(nobodyWaits: boolean): void;
  /** No request may be pending. */
  close(): void;
}

/** The right to use a disk that several processes have open. */
export interface DiskClaim {
  /** Throws a `StorageError` DISK_IN_USE if another process has it. */
  acquire(): void;
  release(): void;
}

/** An open disk, as one thread sees it. */
export interface Disk {
  readonly info: DiskInfo;
  /** The open file that the disk is in, to ask about it; it stays the disk's. Absent: in none. */
  readonly descriptor?: number | undefined;
  /** Its size as of now, in whole sectors; `info` has that of when it was opened. */
  currentSizeBytes(): number;
  /** Find its size out: `currentSizeBytes` has it then. Absent: that has it at any time. */
  lookAgain?(): Promise<void>;
  /**
   * Resolves if what is under the disk has lost what was written before a flush, and flushes fail
   * for good: with one line for the log. Absent: that cannot be.
   */
  readonly flushesFailed?: Promise<string> | undefined;
  /** Path of the file that the disk is in, as it was opened; absent: it is in none. */
  readonly imagePath?: string | undefined;
  /**
   * Make the file that the disk is in larger, for a format that keeps its data there: requests may
   * go up to `sizeBytes` from then on, what is added reads as zeros, and `info` stays as it was.
   * Throws a `SystemError`. Absent: the disk cannot be any larger.
   */
  grow?(sizeBytes: number): void;
  /** What has become of the name it was opened by, for the log; `undefined`: nothing. */
  nameProblem?(): string | undefined;
  /** To have while rings run; absent: there is nothing to have, or the disk is locked for good. */
  readonly claim?: DiskClaim | undefined;
  /**
   * To have from before the first request to the end; absent: it came with opening the disk, or is
   * in `claim`.
   */
  readonly lock?: DiskClaim | undefined;
  /** One line for the log: what it is and how it is reached, with reasons. */
  readonly description: string;
  /** What it is called where disks are named: `file`, `throttle`. */
  readonly kind: string;
  /** The disks that it consists of; they are closed with it, unless they were open before it was. */
  readonly below: readonly Disk[];
  /**
   * Why its channels need Node's event loop to go on, and so the thread that opened it. Absent: any
   * reactor will do, in any thread.
   */
  readonly needsEventLoop?: string | undefined;
  /** Why its process has to reach more than what is open already; absent: it can be confined. */
  readonly needsOutside?: string | undefined;
  /** Where to say what is worth saying while it is used; silent unless told. */
  useLogger?(logger: Logger): void;
  /**
   * Have `listener` called when `currentSizeBytes` may have changed. Absent: nobody knows.
   *
   * @returns what ends that.
   */
  onResize?(listener: () => void): () => void;
  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel;
  /** A way in for code of this thread, where there is a shorter one than through a channel. */
  openAccess?(): DiskAccess;
  /** For `adoptDisk` in another thread; only if the disk needs no event loop. The disk must stay open as long as that one uses it. */
  share(): DiskHandle;
  /**
   * All channels and accesses are closed. Fails if what was written may be lost with it; what can be
   * closed is closed all the same.
   */
  close(): void | Promise<void>;
}

/** What another thread needs to use a disk. */
export type DiskHandle =
  | FileDiskHandle
  | NullDiskHandle
  | PatternDiskHandle
  | JoinedDiskHandle
  | FilterHandle;
