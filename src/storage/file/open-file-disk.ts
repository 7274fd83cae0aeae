/**
 * Opens a file or block device as a disk: all the checks, the lock, and the choice of how to reach
 * it. Everything that can be wrong becomes one clear `StorageError`; the file is not changed.
 */
import { type Stats, statSync } from 'node:fs';
import {
  blockDeviceGeometry,
  type DirectIoAlignment,
  directIoAlignment,
  errnoMessage,
  type Fd,
  isMemoryBacked,
  isReadOnlyDevice,
  Open,
  openFile,
  SharedMutex,
  SystemError,
} from '../../sys/index.ts';
import type { DiskClaim, DiskInfo } from '../disk.ts';
import { StorageError } from '../errors.ts';
import { type FileAccess, FileDisk, type FileDiskHandle, type FileRights } from './file-disk.ts';
import { wholeSectors } from './file-size.ts';
import { joinImageLock, lockImage, unlockImage } from './image-lock.ts';
import type { Succession } from './image-turns.ts';

/** How the host's page cache is used, as in QEMU's `cache=`. */
export type CacheMode = 'writeback' | 'none' | 'writethrough';

/** The cache modes, for option parsers. */
export const CACHE_MODES: readonly CacheMode[] = ['writeback', 'none', 'writethrough'];

/**
 * Whether an image that another process has open for writing is refused: when it is opened (true),
 * when whoever opens it says so (`later`, see `Disk.lock`), or when it is used (`while-running`, see
 * `Disk.claim`), so that two processes can have it open and one hands it over to the other.
 */
export type ImageLocking = boolean | 'later' | 'while-running';

export interface FileDiskOptions {
  readonly path: string;
  readonly readOnly?: boolean;
  /**
   * `writeback`: buffered; `none`: direct I/O, past the page cache; `writethrough`: buffered, and
   * a write completes when it is on stable storage. Default: `writeback`.
   */
  readonly cache?: CacheMode;
  /** Logical block the guest sees, a power of two from 512 to 65536; default: the file's own. */
  readonly blockBytes?: number;
  /** Default: true. */
  readonly locking?: ImageLocking;
  /** A file of no bytes will do: its user makes it larger by writing. Default: false. */
  readonly mayBeEmpty?: boolean;
  /**
   * A block device that refuses writes will do, though it is opened to be written: its user looks
   * for himself. Default: false.
   */
  readonly mayRefuseWrites?: boolean;
  /**
   * With direct I/O: hand requests over one by one while few are under way (`FileIoOptions`). For
   * whoever waits for the device and nothing else; servers have rings to look after meanwhile, and
   * gain nothing. Default: false.
   */
  readonly isEager?: boolean;
  /** To be one of several openings for an owner that has the image open, and locked. */
  readonly succession?: Succession;
  /** How the one who reads the messages has to write options. Default: as on the command line. */
  readonly spelling?: OptionSpelling;
}

/** Options as messages name them. */
export interface OptionSpelling {
  readonly noLocking: string;
  readonly directIo: string;
  readonly readOnly: string;
}

const COMMAND_LINE: OptionSpelling = {
  noLocking: '--locking=off',
  directIo: '--cache=none',
  readOnly: '--read-only',
};

/** Alignment to assume where the kernel does not say (before Linux 6.1): what 4Kn disks need. */
const ASSUMED_DIRECT_ALIGNMENT = 4096;
const SECTOR_BYTES = 512;
const MAX_BLOCK_BYTES = 65536;

/** Open a raw image or a block device. Throws a `StorageError`. */
export function openFileDisk(options: FileDiskOptions): FileDisk {
  const { path, cache = 'writeback', locking = true, succession } = options;
  const place = placeOf(options);
  const stats = checkKind(path, place);
  const isBlockDevice = stats.isBlockDevice();
  const isExclusive = isBlockDevice && locking === true && !options.readOnly;
  const fd = open(options, place, isExclusive && succession === undefined);
  try {
    if (isBlockDevice) checkWritable(fd, options);
    if (locking === true && succession === undefined) lock(fd, options);
    const direct = cache === 'none' ? alignment(fd.number, isBlockDevice) : undefined;
    const info = inspect(fd.number, stats, options, direct?.offsetBytes);
    const access = chooseAccess(fd.number, cache);
    const handle: FileDiskHandle = {
      kind: 'file',
      path,
      info,
      description: describe(path, info, isBlockDevice, cache, access),
      fd: fd.number,
      flushFailure: new SharedArrayBuffer(4),
      isBlockDevice,
      access,
      isEager: access === 'direct' && (options.isEager ?? false),
      ...(direct === undefined ? {} : { direct }),
      mutex: new SharedMutex().buffer,
    };
    const rights = rightsOf(fd, options, isBlockDevice);
    const close = (): void => {
      rights.lock?.release();
      fd.close();
    };
    return new FileDisk(handle, close, rights);
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** What the owner has open, whatever is at its path by now. */
function placeOf({ path, succession }: FileDiskOptions): string {
  return succession === undefined ? path : `/proc/self/fd/${succession.descriptor}`;
}

function checkKind(path: string, place: string): Stats {
  let stats: Stats;
  try {
    stats = statSync(place);
  } catch (error) {
    throw openFailed(path, error);
  }
  if (stats.isFile() || stats.isBlockDevice()) return stats;
  let kind = 'a character device';
  if (stats.isDirectory()) kind = 'a directory';
  else if (stats.isSocket()) kind = 'a socket';
  else if (stats.isFIFO()) kind = 'a pipe';
  const message = `cannot use ${path} as a disk: it is ${kind}, not a file or block device`;
  throw new StorageError('DISK_NOT_A_FILE', message);
}

/** For errors of system calls, Node's or ours: both carry an errno. */
function openFailed(path: string, error: unknown): StorageError {
  const errno = Math.abs((error as NodeJS.ErrnoException).errno ?? 0);
  const reason = errno === 0 ? String(error) : errnoMessage(errno);
  return new StorageError('DISK_OPEN_FAILED', `cannot open ${path}: ${reason}`, { cause: error });
}

function open(options: FileDiskOptions, place: string, exclusive: boolean): Fd {
  const { path, readOnly = false, cache, spelling = COMMAND_LINE } = options;
  const flags = readOnly ? Open.RDONLY : Open.RDWR;
  const direct = cache === 'none';
  // A block device opened exclusively cannot be mounted or part of a volume at the same time.
  const exclusively = exclusive ? Open.EXCL : 0;
  try {
    return openFile(place, flags | exclusively | (direct ? Open.DIRECT : 0));
  } catch (error) {
    if (error instanceof SystemError && direct && error.code === 'EINVAL') {
      const what = `cannot open ${path} with ${spelling.directIo}`;
      const message = `${what}: its file system has no direct I/O`;
      throw new StorageError('DISK_OPEN_FAILED', message, { cause: error });
    }
    if (error instanceof SystemError && error.code === 'EBUSY') {
      throw inUse(options, 'it is mounted');
    }
    throw openFailed(path, error);
  }
}

/** Else the guest would find out, write by write. */
function checkWritable(fd: Fd, options: FileDiskOptions): void {
  const { path, readOnly, mayRefuseWrites, spelling = COMMAND_LINE } = options;
  if (readOnly || mayRefuseWrites || !isReadOnlyDevice(fd.number)) return;
  const message = `cannot open ${path}: the device is read-only, use ${spelling.readOnly}`;
  throw new StorageError('DISK_OPEN_FAILED', message);
}

function inUse({ path, spelling = COMMAND_LINE }: FileDiskOptions, why: string): StorageError {
  const hint = `stop that process, or use ${spelling.noLocking} if you know that it is safe`;
  return new StorageError('DISK_IN_USE', `${path} is in use: ${why} (${hint})`);
}

/** What of an image's locking is left for later. */
function rightsOf(fd: Fd, options: FileDiskOptions, isBlockDevice: boolean): FileRights {
  const { locking = true, readOnly = false, succession } = options;
  const release = (): void => unlockImage(fd.number, readOnly);
  if (locking === 'while-running') return { claim: { acquire: () => lock(fd, options), release } };
  if (locking === true && succession !== undefined) {
    return { lock: { acquire: () => joinImageLock(fd.number, readOnly), release } };
  }
  return locking === 'later' ? { lock: laterLock(fd, options, isBlockDevice) } : {};
}

/** As if it had been locked when it was opened. */
function laterLock(fd: Fd, options: FileDiskOptions, isBlockDevice: boolean): DiskClaim {
  const { path, readOnly = false } = options;
  let exclusive: Fd | undefined;
  const release = (): void => {
    exclusive?.close();
    exclusive = undefined;
    unlockImage(fd.number, readOnly);
  };
  const acquire = (): void => {
    lock(fd, options);
    if (!isBlockDevice || readOnly) return;
    try {
      // The other opening was not exclusive: another process had that.
      exclusive = open({ path, readOnly: true }, `/proc/self/fd/${fd.number}`, true);
    } catch (error) {
      release();
      throw error;
    }
  };
  return { acquire, release };
}

function lock(fd: Fd, options: FileDiskOptions): void {
  const { path, readOnly = false, spelling = COMMAND_LINE } = options;
  let conflict: string | undefined;
  try {
    conflict = lockImage(fd.number, readOnly);
  } catch (error) {
    const hint = `its file system has no locks; use ${spelling.noLocking}`;
    throw new StorageError('DISK_OPEN_FAILED', `cannot lock ${path}: ${hint}`, { cause: error });
  }
  if (conflict !== undefined) throw inUse(options, conflict);
}

function alignment(fd: number, isBlockDevice: boolean): DirectIoAlignment {
  const told = directIoAlignment(fd);
  if (told !== undefined) return told;
  const bytes = isBlockDevice
    ? blockDeviceGeometry(fd).logicalBlockBytes || ASSUMED_DIRECT_ALIGNMENT
    : ASSUMED_DIRECT_ALIGNMENT;
  return { memoryBytes: bytes, offsetBytes: bytes };
}

function inspect(
  fd: number,
  stats: Stats,
  options: FileDiskOptions,
  directOffsetBytes: number | undefined,
): DiskInfo {
  const { path } = options;
  const device = stats.isBlockDevice() ? blockDeviceGeometry(fd) : undefined;
  const sizeBytes = wholeSectors(device?.sizeBytes ?? stats.size);
  if (sizeBytes === 0 && !options.mayBeEmpty) {
    throw new StorageError('DISK_EMPTY', `cannot use ${path} as a disk: it is empty`);
  }
  const logicalBlockBytes =
    options.blockBytes ??
    Math.max(SECTOR_BYTES, device?.logicalBlockBytes ?? 0, directOffsetBytes ?? 0);
  checkBlockSize(logicalBlockBytes);
  const physical = device === undefined ? stats.blksize : device.physicalBlockBytes;
  const isPowerOfTwo = physical > 0 && (physical & (physical - 1)) === 0;
  const readOnly = options.readOnly ?? false;
  return {
    sizeBytes,
    readOnly,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(logicalBlockBytes, isPowerOfTwo ? physical : 0),
    minIoBytes: device?.minIoBytes ?? 0,
    optimalIoBytes: device?.optimalIoBytes ?? 0,
    canDiscard: !readOnly,
    canWriteZeroes: !readOnly,
    writeBack: options.cache !== 'writethrough',
  };
}

/** @throws StorageError unless it is a power of two from 512 to 65536. */
export function checkBlockSize(bytes: number): void {
  const isPowerOfTwo = Number.isInteger(bytes) && bytes > 0 && (bytes & (bytes - 1)) === 0;
  if (isPowerOfTwo && bytes >= SECTOR_BYTES && bytes <= MAX_BLOCK_BYTES) return;
  const message = `block size ${bytes}: must be a power of two from 512 to ${MAX_BLOCK_BYTES}`;
  throw new StorageError('DISK_BLOCK_SIZE', message);
}

function chooseAccess(fd: number, cache: CacheMode): FileAccess {
  if (isMemoryBacked(fd)) return 'memory';
  return cache === 'none' ? 'direct' : 'page-cache';
}

const ACCESS_TEXT: Readonly<Record<FileAccess, string>> = {
  memory: 'in memory: system calls',
  'page-cache': 'reads by the engine, writes by system calls while they are quick',
  direct: 'by the engine',
};

function describe(
  path: string,
  info: DiskInfo,
  isBlockDevice: boolean,
  cache: CacheMode,
  access: FileAccess,
): string {
  const kind = isBlockDevice ? 'block device' : 'raw file';
  const mode = info.readOnly ? 'read-only' : `cache=${cache}`;
  return `${path}: ${kind} of ${info.sizeBytes} bytes, ${mode}, ${ACCESS_TEXT[access]}`;
}
