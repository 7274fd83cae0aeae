/**
 * A disk in a regular file or on a block device, open: how each of its requests reaches the file.
 */
import { type FileIoHandler, type Reactor, SharedMutex, SyncFileIo } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskClaim, DiskInfo, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { FileChannel, type FilePaths } from './file-channel.ts';
import { fileSizeBytes, wholeSectors } from './file-size.ts';
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
  readonly kind: 'file';
  readonly info: DiskInfo;
  readonly description: string;
  readonly fd: number;
  readonly isBlockDevice: boolean;
  readonly access: FileAccess;
  /** See `FileIoOptions`. */
  readonly isEager?: boolean;
  /** Alignments of direct I/O; absent for buffered I/O. */
  readonly direct?: { readonly memoryBytes: number; readonly offsetBytes: number };
  /** Guards read-modify-write of blocks, see `UnalignedIo`. */
  readonly mutex: SharedArrayBuffer;
}

/** See the module's comment. */
export class FileDisk implements Disk {
  readonly info: DiskInfo;
  readonly description: string;
  readonly claim: DiskClaim | undefined;
  readonly #handle: FileDiskHandle;
  readonly #onClose: () => void;
  readonly #zeroPages = new ZeroPages();
  readonly #unaligned: UnalignedIo | undefined;

  /** @param onClose - closes the descriptor where it is owned; nothing where it is borrowed. */
  constructor(handle: FileDiskHandle, onClose: () => void = () => {}, claim?: DiskClaim) {
    this.#handle = handle;
    this.#onClose = onClose;
    this.claim = claim;
    this.info = handle.info;
    this.description = handle.description;
    if (handle.direct !== undefined) {
      const { memoryBytes, offsetBytes } = handle.direct;
      const mutex = new SharedMutex(handle.mutex);
      this.#unaligned = new UnalignedIo(handle.fd, memoryBytes, offsetBytes, mutex);
    }
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const openPaths = (ioHandler: FileIoHandler): FilePaths => {
      const { fd, isBlockDevice, access, isEager = false } = this.#handle;
      const engine = reactor.fileIo(fd, requests.iovecs, ioHandler, { isEager });
      const thread = new SyncFileIo(fd, requests.iovecs);
      const writes = {
        memory: thread,
        'page-cache': new PageCacheWrites(requests, thread, engine),
        direct: engine,
      };
      return {
        fd,
        isBlockDevice,
        reads: access === 'memory' ? thread : engine,
        writes: writes[access],
        control: engine,
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

  currentSizeBytes(): number {
    return wholeSectors(this.fileSizeBytes());
  }

  /** Size of the file as of now, to the byte. */
  fileSizeBytes(): number {
    return fileSizeBytes(this.#handle.fd, this.#handle.isBlockDevice);
  }

  share(): FileDiskHandle {
    return this.#handle;
  }

  close(): void {
    this.#zeroPages.close();
    this.#unaligned?.close();
    this.#onClose();
  }
}
