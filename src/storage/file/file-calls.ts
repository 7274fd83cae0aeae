/**
 * What a file disk asks of the kernel for its requests, all of it in one place: the tests that have
 * calls fail, or that record what would be lost with the power, come in between here.
 */
import {
  discardRange,
  type FileIo,
  type FileIoHandler,
  type IovecTable,
  type Reactor,
  readAt,
  SyncFileIo,
  writeAt,
} from '../../sys/index.ts';
import type { FileDiskHandle } from './file-disk.ts';
import { fileSizeBytes } from './file-size.ts';

/** See the module's comment. Results are byte counts, or negative errno values. */
export interface FileCalls {
  /** I/O by the reactor's engine. */
  byEngine(reactor: Reactor, table: IovecTable, handler: FileIoHandler): FileIo;
  /** I/O by the calling thread. */
  byThread(table: IovecTable): FileIo;
  /** For the fdatasync of FLUSH, by the engine, through a lane's descriptor: see `FlushLanes`. */
  flushes(fd: number, reactor: Reactor, table: IovecTable, handler: FileIoHandler): FileIo;
  readAt(address: number, bytes: number, offset: number): number;
  writeAt(address: number, bytes: number, offset: number): number;
  /** BLKDISCARD, of block devices. */
  discard(offset: number, bytes: number): number;
  /** As of now. */
  sizeBytes(): number;
}

/** The calls themselves. */
export class SystemFileCalls implements FileCalls {
  readonly #handle: FileDiskHandle;

  constructor(handle: FileDiskHandle) {
    this.#handle = handle;
  }

  byEngine(reactor: Reactor, table: IovecTable, handler: FileIoHandler): FileIo {
    const { fd, isEager = false } = this.#handle;
    return reactor.fileIo(fd, table, handler, { isEager });
  }

  byThread(table: IovecTable): FileIo {
    return new SyncFileIo(this.#handle.fd, table);
  }

  flushes(fd: number, reactor: Reactor, table: IovecTable, handler: FileIoHandler): FileIo {
    return reactor.fileIo(fd, table, handler);
  }

  readAt(address: number, bytes: number, offset: number): number {
    return readAt(this.#handle.fd, address, bytes, offset);
  }

  writeAt(address: number, bytes: number, offset: number): number {
    return writeAt(this.#handle.fd, address, bytes, offset);
  }

  discard(offset: number, bytes: number): number {
    return discardRange(this.#handle.fd, offset, bytes);
  }

  sizeBytes(): number {
    return fileSizeBytes(this.#handle.fd, this.#handle.isBlockDevice);
  }
}
