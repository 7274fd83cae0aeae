/**
 * A disk as an ordinary object: `sizeBytes`, `read`, and what else it can do.
 *
 *     const disk: DiskObject = {
 *       sizeBytes: 64 * 2 ** 20,
 *       read(buffer, offset) {
 *         buffer.fill(0);
 *       },
 *     };
 *
 * What a guest is offered follows from the methods that are there: without `write` the disk is
 * read-only, without `flush` whatever is written is taken to be safe when `write` has settled.
 *
 * Methods may return a promise or nothing. One that throws, or rejects, fails the request: the
 * guest sees an I/O error. An error whose `code` is that of a system error (`ENOSPC`, `EROFS`,
 * `ENOTSUP`, ...) says which.
 */
import type { Logger } from '../../sys/index.ts';

/** One request, as methods get it. */
export interface ObjectRequest {
  /**
   * Writes: what is written has to be on stable storage when the method settles. Asked only of
   * disks that say `honoursStable`; others get a `flush` after the write.
   */
  readonly stable: boolean;
  /** `writeZeroes`: the space may be given back, if it reads as zeros from then on. */
  readonly mayUnmap: boolean;
  /**
   * `writeZeroes`: throw an error with code `ENOTSUP` rather than be slow (as slow as writing zeros).
   */
  readonly mustBeFast: boolean;
  /**
   * Aborted when nobody waits for the request any more: its time is over (`timeoutMs`), or the
   * server ends. Costs something only when it is asked for.
   */
  readonly signal: AbortSignal;
}

/** What a method returns. */
export type Settled = void | Promise<void>;

/**
 * See the module's comment. Offsets and lengths are in bytes, multiples of `logicalBlockBytes`, and
 * lie within the disk.
 *
 * Buffers are the guest's own memory: filling one is the answer. They are lent until the method
 * settles. After that they have no bytes; what has to be kept is to be copied before. Nor may they
 * be transferred to anybody: that would be the guest's memory still, and the request fails.
 *
 * Requests come several at a time. Those that touch the same bytes, where one of them writes, come
 * one after the other, in the order of their arrival; a flush comes when the writes before it have
 * settled.
 */
export interface DiskObject {
  /** Size of the disk: a positive multiple of 512. Looked at again after a `resize` event. */
  readonly sizeBytes: number;
  /** Fill the buffer with what is at `offset`. */
  read(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled;
  /** Write the buffer at `offset`. Absent: the disk is read-only. */
  write?(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled;
  /** As `read` and `write`, for memory in several pieces; absent: those get a copy in one. */
  readv?(buffers: readonly Uint8Array[], offset: number, request: ObjectRequest): Settled;
  writev?(buffers: readonly Uint8Array[], offset: number, request: ObjectRequest): Settled;
  /** Make safe what has been written. Absent: it is as soon as `write` settles. */
  flush?(request: ObjectRequest): Settled;
  /** What is in the range is not needed any more. Absent: the guest is not offered it. */
  discard?(offset: number, length: number, request: ObjectRequest): Settled;
  /** Fill the range with zeros. Absent: the guest is not offered it. */
  writeZeroes?(offset: number, length: number, request: ObjectRequest): Settled;
  /** Where to say what is worth saying beside errors: those are logged by whoever serves it. */
  useLogger?(logger: Logger): void;
  /**
   * The disk is not used any more. Methods whose time was over (`timeoutMs`) are waited for before,
   * once as long as that. If it fails, closing the disk does: somebody should know what is lost.
   */
  close?(): Settled;
  /** `resize`: `sizeBytes` has changed. As an EventEmitter has it. */
  on?(event: 'resize', listener: () => void): unknown;
  /** Its opposite: without it, a disk that was made of the object and is closed is told still. */
  off?(event: 'resize', listener: () => void): unknown;

  /** Smallest unit of reading and writing: a power of two from 512 to 65536. Default: 512. */
  readonly logicalBlockBytes?: number;
  /** Unit that is written without reading first; default: `logicalBlockBytes`. */
  readonly physicalBlockBytes?: number;
  /** Preferred granularity and size of requests; default: none. */
  readonly minIoBytes?: number;
  readonly optimalIoBytes?: number;
  /** Most requests under way at once; others wait. 1 to 65536. Default: 128. */
  readonly maxConcurrency?: number;
  /**
   * How long a request may take, counted from its arrival; then the guest gets an I/O error and
   * `signal` is aborted. The method may go on, but not with the guest's memory: with a limit all
   * buffers are copies. Its range stays taken until it settles. Default: no limit.
   */
  readonly timeoutMs?: number;
  /** Writes honour `request.stable`. */
  readonly honoursStable?: boolean;
  /** One line for the log. */
  readonly description?: string;
}
