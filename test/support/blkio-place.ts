/**
 * Where the client library's tests run: a driver, and something to connect it to. One suite runs
 * over all places, as libblkio's own tests do.
 */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Blkio, type PropertyValue } from '../../src/blkio/index.ts';
import { eventually } from './eventually.ts';
import { missingDirectIo } from './page-cache.ts';
import { readFileAt } from './served-disk.ts';
import { ServerProgram } from './server-program.ts';
import {
  type StorageDaemonOptions,
  startStorageDaemon,
  storageDaemonRequirements,
} from './storage-daemon.ts';

/** Bytes of a disk, unless a test says otherwise. */
export const DISK_BYTES: number = 1024 * 1024;
/** Queues that a back-end offers. */
export const BACKEND_QUEUES = 4;
const TIME_LIMIT_MS = 60_000;

/** Properties to set, by name. */
export type Settings = Readonly<Record<string, PropertyValue>>;

export interface DiskOptions {
  /** What the disk holds; default: zeros, `DISK_BYTES` of them. */
  readonly content?: Uint8Array;
  readonly sizeBytes?: number;
  /** The back-end offers a disk that can't be written; for files it makes no difference. */
  readonly readOnly?: boolean;
}

/** A driver, and how to get at something to connect it to. */
export interface BlkioPlace {
  readonly name: string;
  readonly driver: 'io_uring' | 'virtio-blk-vhost-user';
  /** Why there is no such place here, for a test's `skip`. */
  readonly skip: string | false;
  /** Requests must be whole blocks of so many bytes. */
  readonly blockBytes: number;
  /** The back-end's end; nothing for a file. */
  start(options?: DiskOptions): Promise<PlacedDisk>;
}

/** The other end, for a test. */
interface Backend {
  readonly pid: number;
  stop(): Promise<unknown>;
}

/** A disk at a place, and devices connected to it. */
export class PlacedDisk implements AsyncDisposable {
  readonly driver: string;
  /** The property of that name. */
  readonly path: string;
  readonly imagePath: string;
  readonly #settings: Settings;
  readonly #folder: string;
  readonly #backend: Backend | undefined;
  readonly #devices: Blkio[] = [];
  readonly #limit: NodeJS.Timeout;

  constructor(driver: string, folder: string, settings: Settings, backend: Backend | undefined) {
    this.driver = driver;
    this.imagePath = join(folder, 'image');
    this.path = backend === undefined ? this.imagePath : join(folder, 'socket');
    this.#settings = settings;
    this.#folder = folder;
    this.#backend = backend;
    // A request that is never answered fails then.
    this.#limit = setTimeout(() => void backend?.stop(), TIME_LIMIT_MS);
  }

  /** A device that knows the path. It is closed with the disk. */
  device(settings: Settings = {}): Blkio {
    const device = new Blkio(this.driver);
    this.#devices.push(device);
    const all: Settings = { path: this.path, ...this.#settings, ...settings };
    for (const [name, value] of Object.entries(all)) device.set(name, value);
    return device;
  }

  async connected(settings?: Settings): Promise<Blkio> {
    const device = this.device(settings);
    await device.connect();
    return device;
  }

  /** @param settings - to set before connecting. @param later - and after. */
  async started(settings?: Settings, later: Settings = {}): Promise<Blkio> {
    const device = await this.connected(settings);
    for (const [name, value] of Object.entries(later)) device.set(name, value);
    await device.start();
    return device;
  }

  /** End the back-end the hard way, at once; wait to know that it is gone. */
  async killBackend(): Promise<void> {
    process.kill(this.#backendPid, 'SIGKILL');
    await this.#backend?.stop();
  }

  /** Have the back-end answer nothing, until `resumeBackend`. */
  async pauseBackend(): Promise<void> {
    const pid = this.#backendPid;
    process.kill(pid, 'SIGSTOP');
    const folder = `/proc/${pid}/task`;
    await eventually('all threads of the back-end stand still', () =>
      readdirSync(folder).every((thread) =>
        /^State:\s+T/m.test(readFileSync(join(folder, thread, 'status'), 'utf8')),
      ),
    );
  }

  resumeBackend(): void {
    process.kill(this.#backendPid, 'SIGCONT');
  }

  get #backendPid(): number {
    if (this.#backend === undefined) throw new Error('there is no back-end');
    return this.#backend.pid;
  }

  /** What the host has in the file. */
  readImage(offsetBytes = 0, lengthBytes = statSync(this.imagePath).size): Uint8Array {
    return readFileAt(this.imagePath, offsetBytes, lengthBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#limit);
    for (const device of this.#devices) device.close();
    await this.#backend?.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A folder with an image in it. */
function imageIn(parent: string, { content, sizeBytes }: DiskOptions): string {
  const folder = mkdtempSync(join(parent, 'blkio-place-'));
  const fd = openSync(join(folder, 'image'), 'w');
  if (content !== undefined) writeSync(fd, content);
  closeSync(fd);
  truncateSync(join(folder, 'image'), sizeBytes ?? content?.length ?? DISK_BYTES);
  return folder;
}

interface FilePlace {
  readonly name: string;
  readonly parent: string;
  readonly settings: Settings;
  readonly blockBytes: number;
  readonly skip: string | false;
}

function filePlace({ name, parent, settings, blockBytes, skip }: FilePlace): BlkioPlace {
  const start = async (options: DiskOptions = {}): Promise<PlacedDisk> =>
    new PlacedDisk('io_uring', imageIn(parent, options), settings, undefined);
  return { name: `io_uring, ${name}`, driver: 'io_uring', skip, blockBytes, start };
}

/** A place whose disk is behind a socket. */
function socketPlace(
  name: string,
  skip: string | false,
  startBackend: (folder: string, options: DiskOptions) => Promise<Backend>,
): BlkioPlace {
  const driver = 'virtio-blk-vhost-user';
  const start = async (options: DiskOptions = {}): Promise<PlacedDisk> => {
    const folder = imageIn(tmpdir(), options);
    try {
      return new PlacedDisk(driver, folder, {}, await startBackend(folder, options));
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  };
  return { name: `${driver}, ${name}`, driver, skip, blockBytes: 512, start };
}

function startServer(folder: string, { readOnly = false }: DiskOptions): Promise<Backend> {
  return ServerProgram.ready([
    `--socket-path=${join(folder, 'socket')}`,
    `--blk-file=${join(folder, 'image')}`,
    `--num-queues=${BACKEND_QUEUES}`,
    '--block-size=512',
    ...(readOnly ? ['--read-only'] : []),
  ]);
}

function startDaemon(
  folder: string,
  { readOnly = false, sizeBytes = DISK_BYTES }: DiskOptions,
  disk: 'file' | 'null-co',
): Promise<Backend> {
  const options: StorageDaemonOptions = {
    socketPath: join(folder, 'socket'),
    numQueues: BACKEND_QUEUES,
    writable: !readOnly,
  };
  if (disk === 'null-co') return startStorageDaemon({ ...options, nullCoSizeBytes: sizeBytes });
  return startStorageDaemon({ ...options, imagePath: join(folder, 'image') });
}

const noDaemon = storageDaemonRequirements() ?? false;

/** Files, by the ways there are to reach them. */
export const FILE_PLACES: readonly BlkioPlace[] = [
  filePlace({ name: 'buffered', parent: tmpdir(), settings: {}, blockBytes: 512, skip: false }),
  filePlace({
    name: 'direct',
    parent: tmpdir(),
    settings: { direct: true },
    blockBytes: 4096,
    skip: missingDirectIo(),
  }),
  filePlace({ name: 'in memory', parent: '/dev/shm', settings: {}, blockBytes: 512, skip: false }),
];

/** Our own server. */
export const SERVER_PLACE: BlkioPlace = socketPlace('vhostkit', false, startServer);

/** Everything that takes nothing but this package. */
export const LOCAL_PLACES: readonly BlkioPlace[] = [...FILE_PLACES, SERVER_PLACE];

export const DAEMON_PLACE: BlkioPlace = socketPlace(
  'qemu-storage-daemon',
  noDaemon,
  (folder, options) => startDaemon(folder, options, 'file'),
);

/** A disk without data: reads give zeros, writes are forgotten. */
export const NULL_PLACE: BlkioPlace = socketPlace(
  'null-co of qemu-storage-daemon',
  noDaemon,
  (folder, options) => startDaemon(folder, options, 'null-co'),
);
