/**
 * A disk in a regular file or on a block device, open: how each of its requests reaches the file.
 */
import {
  duplicateFd,
  errnoMessage,
  errnoName,
  type FileIoHandler,
  type Reactor,
  SharedMutex,
} from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskClaim, DiskInfo, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { type FileCalls, SystemFileCalls } from './file-calls.ts';
import { FileChannel, type FilePaths } from './file-channel.ts';
import { nameProblem } from './file-name.ts';
import { fileSizeBytes, growFile, wholeSectors } from './file-size.ts';
import { FlushGate } from './flush-gate.ts';
import { FlushLanes } from './flush-lanes.ts';
import { PageCacheWrites } from './page-cache-writes.ts';
import { UnalignedIo } from './unaligned-io.ts';
import { ZeroPages } from './zero-pages.ts';

/**
 * Where a file's data is found, which decides how to get at it. io_uring is not always the faster
 * way: a file that lives in memory has no non-blocking reads, so the kernel would hand every
 * request to a thread of its own; a plain system call is many times faster there, and never waits
 * for a device.
 */
export type FileAccess = 'memory' | 'page-cache' | 'direct';

/** A file disk for another thread: plain data, and a descriptor that stays the first thread's. */
export interface FileDiskHandle {
  /** `memory`: a file without a name. */
  readonly kind: 'file' | 'memory';
  /** As it was opened; for messages. */
  readonly path: string;
  readonly info: DiskInfo;
  readonly description: string;
  readonly fd: number;
  /** For flushes, see `FlushGate`. Default: each thread's disk opens another for itself. */
  readonly flushFd?: number;
  /** The errno of a flush that failed, see `FlushGate`. */
  readonly flushFailure: SharedArrayBuffer;
  readonly isBlockDevice: boolean;
  readonly access: FileAccess;
  /** See `FileIoOptions`. */
  readonly isEager?: boolean;
  /** Alignments of direct I/O; absent for buffered I/O. */
  readonly direct?: { readonly memoryBytes: number; readonly offsetBytes: number };
  /** Guards read-modify-write of blocks, see `UnalignedIo`. */
  readonly mutex: SharedArrayBuffer;
}

/** Rights to use the file that do not come with opening it: see `Disk`. */
export interface FileRights {
  readonly claim?: DiskClaim;
  readonly lock?: DiskClaim;
}

/** See the module's comment. */
export class FileDisk implements Disk {
  readonly kind: string;
  readonly below: readonly Disk[] = [];
  readonly info: DiskInfo;
  readonly description: string;
  readonly claim: DiskClaim | undefined;
  readonly lock: DiskClaim | undefined;
  readonly grow?: (sizeBytes: number) => void;
  readonly #handle: FileDiskHandle;
  readonly #calls: FileCalls;
  readonly #flushLanes: FlushLanes;
  readonly #onClose: () => void;
  readonly #zeroPages = new ZeroPages();
  readonly #unaligned: UnalignedIo | undefined;

  /** @param onClose - closes the descriptor where it is owned; nothing where it is borrowed. */
  constructor(
    handle: FileDiskHandle,
    onClose: () => void = () => {},
    rights: FileRights = {},
    calls: FileCalls = new SystemFileCalls(handle),
  ) {
    this.#handle = handle;
    this.#calls = calls;
    this.#onClose = onClose;
    this.claim = rights.claim;
    this.lock = rights.lock;
    this.kind = handle.kind;
    this.info = handle.info;
    this.description = handle.description;
    if (!handle.isBlockDevice && !handle.info.readOnly) {
      this.grow = (sizeBytes) => growFile(handle.fd, sizeBytes);
    }
    if (handle.direct !== undefined) {
      const { memoryBytes, offsetBytes } = handle.direct;
      const mutex = new SharedMutex(handle.mutex);
      this.#unaligned = new UnalignedIo(calls, memoryBytes, offsetBytes, mutex);
    }
    this.#flushLanes = new FlushLanes(handle);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const openPaths = (ioHandler: FileIoHandler): FilePaths => {
      const { isBlockDevice, access } = this.#handle;
      const flushLane = this.#flushLanes.enter(reactor);
      const calls = this.#calls;
      const engine = calls.byEngine(reactor, requests.iovecs, ioHandler);
      const thread = calls.byThread(requests.iovecs);
      const writes = {
        memory: thread,
        'page-cache': new PageCacheWrites(requests, thread, engine),
        direct: engine,
      };
      return {
        calls,
        isBlockDevice,
        reads: access === 'memory' ? thread : engine,
        writes: writes[access],
        control: engine,
        flushes: calls.flushes(flushLane.fd, reactor, requests.iovecs, ioHandler),
        flushLane,
        unaligned: this.#unaligned,
        zeroPages: this.#zeroPages,
      };
    };
    return new FileChannel(requests, handler, openPaths);
  }

  /** The open file, to ask about it. It stays the disk's. */
  get descriptor(): number {
    return this.#handle.fd;
  }

  get imagePath(): string {
    return this.#handle.path;
  }

  currentSizeBytes(): number {
    return wholeSectors(this.fileSizeBytes());
  }

  nameProblem(): string | undefined {
    return nameProblem(this.#handle.fd, this.#handle.path);
  }

  get flushesFailed(): Promise<string> {
    return new FlushGate(this.#handle.flushFailure).failed.then(
      (errno) =>
        `${this.#handle.path}: a flush failed (${errnoName(errno)}, ${errnoMessage(errno)}): ` +
        'what was written before it may be lost, so all flushes fail until the disk is opened again',
    );
  }

  /** Size of the file as of now, to the byte. */
  fileSizeBytes(): number {
    return fileSizeBytes(this.#handle.fd, this.#handle.isBlockDevice);
  }

  share(): FileDiskHandle {
    return this.#handle;
  }

  /** As `share`, with a descriptor that is the other thread's to close. */
  duplicate(): FileDiskHandle {
    return { ...this.#handle, fd: duplicateFd(this.#handle.fd, 'disk').release() };
  }

  close(): void {
    this.#zeroPages.close();
    this.#flushLanes.close();
    this.#unaligned?.close();
    this.#onClose();
  }
}
