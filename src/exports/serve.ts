/** The shortest way from a disk to a virtual machine's disk. */
import {
  type Disk,
  type DiskLike,
  type OpenOptions,
  openDisk,
  ReadonlyDisk,
  rawImageWarning,
  StorageError,
} from '../storage/index.ts';
import type { Logger, SocketAccess } from '../sys/index.ts';
import type { CounterValues } from '../virtio-blk/index.ts';
import { listenAt } from './listening-socket.ts';
import { stderrLogger } from './stderr-logger.ts';
import { type VhostUserBlkOptions, VhostUserBlkServer } from './vhost-user-blk/server.ts';
import { WorkerDisk } from './vhost-user-blk/worker-disk.ts';

/** What is to be served, and where. */
export interface ServeOptions
  extends Pick<VhostUserBlkOptions, 'numQueues' | 'queueSize' | 'threads' | 'serial' | 'engine'> {
  /** The unix socket to listen at; at most 107 bytes. Removed when the server is closed. */
  readonly socketPath: string;
  /** Who may connect; default: this user alone (mode 0600). */
  readonly socketAccess?: SocketAccess;
  /** An object, a plan (`file('disk.img')`, `throttle(...)`), or an open disk. */
  readonly disk?: DiskLike;
  /**
   * Instead of `disk`: a disk as people write it, such as the path of a module
   * (`./my-disk.js,colour=red`), to be opened and served by a worker thread of its own.
   */
  readonly worker?: string;
  /** The guest may read only, whatever the disk can. */
  readonly readOnly?: boolean;
  /** Default: warnings and errors to standard error. */
  readonly logger?: Logger;
}

/** A disk that is served. `await using` closes it. */
export interface ServedDisk extends AsyncDisposable {
  readonly socketPath: string;
  readonly disk: Disk;
  /** What has been done so far, over all clients. */
  readonly counters: CounterValues;
  /** Resolves when it is served no more; rejects on an internal error. */
  readonly ended: Promise<void>;
  /**
   * Have the disk's size looked at again, and the client told of another: for files that have
   * grown, say; objects that emit `resize` need not. Resolves with the size in bytes.
   */
  updateCapacity(): Promise<number>;
  /** Finish the requests under way, hang up, close the disk unless it was open before. */
  close(): Promise<void>;
}

/**
 * Serve a disk to one client after another. Resolves when clients are accepted. Rejects with a
 * `StorageError` if the disk is none or cannot be opened, with an `ExportError` if it cannot be
 * made reachable; nothing is left of it then, and a disk that was open before still is.
 */
export async function serve(options: ServeOptions): Promise<ServedDisk> {
  const { socketPath, socketAccess, disk: like, worker, readOnly, ...settings } = options;
  const logger = options.logger ?? stderrLogger;
  const opened = await openOne(like, worker, { readOnly: readOnly ?? false, logger });
  // One that was open already does not know of it.
  const isMore = readOnly === true && !opened.info.readOnly;
  const disk = isMore ? new ReadonlyDisk(opened) : opened;
  const closeDisk = async (): Promise<void> => {
    if (opened !== like) await opened.close();
  };
  try {
    disk.useLogger?.(logger);
    const warning = rawImageWarning(disk);
    if (warning !== undefined) logger.warn(warning);
    const socket = listenAt(socketPath, socketAccess);
    try {
      const server = await VhostUserBlkServer.start({ ...settings, disk, socket, logger });
      return new RunningServer(socketPath, disk, server, closeDisk);
    } catch (error) {
      socket.close();
      throw error;
    }
  } catch (error) {
    await closeDisk();
    throw error;
  }
}

function openOne(
  disk: DiskLike | undefined,
  worker: string | undefined,
  options: Pick<OpenOptions, 'readOnly' | 'logger'>,
): Promise<Disk> {
  if (disk !== undefined && worker === undefined) return openDisk(disk, options);
  if (disk === undefined && worker !== undefined) return WorkerDisk.open(worker, options);
  throw new StorageError('DISK_OPTION', 'serve: give either disk or worker');
}

class RunningServer implements ServedDisk {
  readonly socketPath: string;
  readonly disk: Disk;
  readonly ended: Promise<void>;
  readonly #server: VhostUserBlkServer;
  readonly #closeDisk: () => Promise<void>;
  #closing: Promise<void> | undefined;

  constructor(
    socketPath: string,
    disk: Disk,
    server: VhostUserBlkServer,
    closeDisk: () => Promise<void>,
  ) {
    this.socketPath = socketPath;
    this.disk = disk;
    this.ended = server.ended;
    this.#server = server;
    this.#closeDisk = closeDisk;
  }

  get counters(): CounterValues {
    return this.#server.counters;
  }

  updateCapacity(): Promise<number> {
    return this.#server.lookAgain();
  }

  close(): Promise<void> {
    this.#closing ??= this.#server.close().then(this.#closeDisk);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
