/**
 * A disk in memory: a file without a name, which takes up only what has been written, and gives
 * back what is discarded. It is gone with the program.
 */
import { fstatSync, read, write } from 'node:fs';
import { promisify } from 'node:util';
import {
  closeAll,
  createMemfd,
  dataRanges,
  errnoMessage,
  type Fd,
  Open,
  openAgain,
  openFile,
  SharedMutex,
  SystemError,
  sealSize,
} from '../../sys/index.ts';
import type { DiskInfo } from '../disk.ts';
import { StorageError } from '../errors.ts';
import { FileDisk, type FileDiskHandle } from '../file/file-disk.ts';
import { checkBlockSize, openFileDisk } from '../file/open-file-disk.ts';
import { type DiskKind, DiskPlan, type OpenOptions } from '../plan/disk-kind.ts';
import { diskBytes, text } from '../plan/parameter-types.ts';

const NAME = 'memory';
const DEFAULT_BLOCK_BYTES = 512;
/** Unit of memory: what smaller writes have to read first. */
const PAGE_BYTES = 4096;
/** What is copied at a time. */
const COPY_BYTES = 2 ** 20;

const readAsync = promisify(read);
const writeAsync = promisify(write);

/** See the module's comment. */
export class MemoryDisk extends FileDisk {
  /** @param fd - a memfd of the disk's size; the disk's from then on. */
  constructor(fd: Fd, options: OpenOptions) {
    const info = infoOf(fstatSync(fd.number).size, options);
    const handle: FileDiskHandle = {
      kind: NAME,
      path: NAME,
      info,
      description: `memory of ${info.sizeBytes} bytes, of which only what is written is taken up`,
      fd: fd.number,
      flushFd: fd.number,
      flushFailure: new SharedArrayBuffer(4),
      isBlockDevice: false,
      access: 'memory',
      mutex: new SharedMutex().buffer,
    };
    super(handle, () => fd.close());
  }

  override nameProblem(): undefined {
    return undefined;
  }
}

function infoOf(sizeBytes: number, options: OpenOptions): DiskInfo {
  const { readOnly = false, blockBytes = DEFAULT_BLOCK_BYTES, cache } = options;
  return {
    sizeBytes,
    readOnly,
    logicalBlockBytes: blockBytes,
    physicalBlockBytes: Math.max(blockBytes, PAGE_BYTES),
    minIoBytes: 0,
    optimalIoBytes: 0,
    canDiscard: !readOnly,
    canWriteZeroes: !readOnly,
    writeBack: cache !== 'writethrough',
  };
}

/** See the kind's parameters. */
export interface MemoryParameters {
  readonly size?: number;
  readonly file?: string;
}

/** The kind `memory`. */
export const memoryKind: DiskKind<MemoryParameters> = {
  name: NAME,
  summary: 'lives in memory, and takes up only what is written',
  below: 'none',
  primary: 'size',
  parameters: {
    size: { type: diskBytes, summary: 'size of the disk; default: that of the file' },
    file: { type: text('path'), summary: 'image to begin with; it is read once' },
  },
  async open({ parameters, options }) {
    checkBlockSize(options.blockBytes ?? DEFAULT_BLOCK_BYTES);
    const { succession } = options;
    const fd =
      succession === undefined
        ? await newMemory(parameters, options)
        : // The owner has it already.
          openFile(`/proc/self/fd/${succession.descriptor}`, Open.RDWR);
    return new MemoryDisk(fd, options);
  },
};

async function newMemory({ size, file }: MemoryParameters, options: OpenOptions): Promise<Fd> {
  if (file === undefined) {
    if (size !== undefined) return createMemory(size);
    const problem = 'parameter "size=<bytes>" is missing, and there is no file to take it from';
    throw new StorageError('DISK_OPTION', `${NAME}: ${problem}`);
  }
  const { locking = true } = options;
  const source = openFileDisk({ path: file, readOnly: true, locking: locking !== false });
  try {
    const { sizeBytes } = source.info;
    if (size !== undefined && size < sizeBytes) {
      const problem = `size is ${size}, but ${file} has ${sizeBytes} bytes`;
      throw new StorageError('DISK_OPTION', `${NAME}: ${problem}`);
    }
    const memory = createMemory(size ?? sizeBytes);
    await copyOrClose(source, memory, file);
    return memory;
  } finally {
    source.close();
  }
}

function createMemory(sizeBytes: number): Fd {
  try {
    const fd = createMemfd('vhostkit-disk', sizeBytes);
    sealSize(fd);
    return fd;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const message = `cannot make a memory disk of ${sizeBytes} bytes: ${errnoMessage(error.errno)}`;
    throw new StorageError('DISK_OPEN_FAILED', message, { cause: error });
  }
}

async function copyOrClose(source: FileDisk, memory: Fd, path: string): Promise<void> {
  const opened = openAgain(source.descriptor);
  try {
    if (opened === undefined) throw new Error('it cannot be opened again');
    for (const { start, end } of dataRanges(opened, source.info.sizeBytes)) {
      await copyRange(source.descriptor, memory.number, start, end);
    }
  } catch (error) {
    memory.close();
    const reason = (error as Error).message;
    throw new StorageError('DISK_OPEN_FAILED', `cannot read ${path}: ${reason}`, { cause: error });
  } finally {
    if (opened !== undefined) closeAll([opened]);
  }
}

/** The file may end within its last sector. */
async function copyRange(from: number, to: number, start: number, end: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(COPY_BYTES);
  for (let at = start; at < end; ) {
    const { bytesRead } = await readAsync(from, buffer, 0, Math.min(COPY_BYTES, end - at), at);
    if (bytesRead === 0) return;
    for (let done = 0; done < bytesRead; ) {
      const { bytesWritten } = await writeAsync(to, buffer, done, bytesRead - done, at + done);
      done += bytesWritten;
    }
    at += bytesRead;
  }
}

/** A disk of so many bytes in memory, or as its parameters say. */
export function memory(parameters: number | MemoryParameters): DiskPlan {
  return new DiskPlan(
    memoryKind,
    typeof parameters === 'number' ? { size: parameters } : parameters,
  );
}
