/**
 * Where the client library's tests run: a driver, and something to connect it to. One suite runs
 * over all places, as libblkio's own tests do.
 */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { attachLoop, cannotLoop } from './host-file-systems.ts';
import { missingDirectIo } from './page-cache.ts';
import {
  type Backend,
  DISK_BYTES,
  type DiskOptions,
  imageFolderIn,
  imagePathIn,
  PlacedDisk,
  type Settings,
} from './placed-disk.ts';
import { ServerProgram } from './server-program.ts';
import {
  type StorageDaemonOptions,
  startStorageDaemon,
  storageDaemonRequirements,
} from './storage-daemon.ts';

export { DISK_BYTES, PlacedDisk, type Settings };

/** Queues that a back-end offers. */
export const BACKEND_QUEUES = 4;

/** A driver, and how to get at something to connect it to. */
export interface BlkioPlace {
  readonly name: string;
  readonly driver: 'io_uring' | 'virtio-blk-vhost-user';
  /** Why there is no such place here, for a test's `skip`. */
  readonly skip: string | false;
  /** Requests must be whole blocks of so many bytes. */
  readonly blockBytes: number;
  /** Writes behind the end make the disk larger. */
  readonly canGrow: boolean;
  /** The back-end's end; nothing for a file. */
  start(options?: DiskOptions): Promise<PlacedDisk>;
}

interface FilePlace {
  readonly name: string;
  readonly parent: string;
  readonly settings: Settings;
  readonly blockBytes: number;
  readonly skip: string | false;
}

function filePlace({ name, parent, settings, blockBytes, skip }: FilePlace): BlkioPlace {
  const start = async (options: DiskOptions = {}): Promise<PlacedDisk> => {
    const folder = imageFolderIn(parent, options);
    return new PlacedDisk({ driver: 'io_uring', folder, path: imagePathIn(folder), settings });
  };
  return { name: `io_uring, ${name}`, driver: 'io_uring', skip, blockBytes, canGrow: true, start };
}

const noLoop = cannotLoop();

/** A block device over a file, with sectors of some size. */
function loopPlace(sectorBytes: number, direct: boolean): BlkioPlace {
  const driver = 'io_uring';
  const start = async (options: DiskOptions = {}): Promise<PlacedDisk> => {
    const folder = imageFolderIn(tmpdir(), options);
    try {
      const { path, release } = attachLoop(imagePathIn(folder), { sectorBytes });
      return new PlacedDisk({ driver, folder, path, settings: { direct }, release });
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  };
  const name = `${driver}, block device with sectors of ${sectorBytes}${direct ? ', direct' : ''}`;
  const blockBytes = direct ? sectorBytes : 512;
  return { name, driver, skip: noLoop, blockBytes, canGrow: false, start };
}

/** A place whose disk is behind a socket. */
function socketPlace(
  name: string,
  skip: string | false,
  startBackend: (folder: string, options: DiskOptions) => Promise<Backend>,
  settings: Settings = {},
): BlkioPlace {
  const driver = 'virtio-blk-vhost-user';
  const start = async (options: DiskOptions = {}): Promise<PlacedDisk> => {
    const folder = imageFolderIn(tmpdir(), options);
    try {
      const backend = await startBackend(folder, options);
      return new PlacedDisk({ driver, folder, path: join(folder, 'socket'), backend, settings });
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  };
  return { name: `${driver}, ${name}`, driver, skip, blockBytes: 512, canGrow: false, start };
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

/** Block devices, which take root. */
export const LOOP_PLACES: readonly BlkioPlace[] = [512, 4096].flatMap((sectorBytes) =>
  [false, true].map((direct) => loopPlace(sectorBytes, direct)),
);

/** Our own server. */
export const SERVER_PLACE: BlkioPlace = socketPlace('vhostkit', false, startServer);

/** The same, with packed rings. */
export const PACKED_PLACE: BlkioPlace = socketPlace('vhostkit, packed', false, startServer, {
  packed: true,
});

/** Everything that takes nothing but this package. */
export const LOCAL_PLACES: readonly BlkioPlace[] = [...FILE_PLACES, ...LOOP_PLACES, SERVER_PLACE];

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
