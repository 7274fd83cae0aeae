/**
 * The `io_uring` driver: files and block devices of this machine. A queue is a channel of the file
 * disk that servers use, too; where io_uring is refused, or slower (files in memory), the same
 * channel takes other ways.
 */
import { closeSync, constants as fsConstants, fstatSync, readFileSync } from 'node:fs';
import {
  type FileDisk,
  type OptionSpelling,
  openFileDisk,
  StorageError,
} from '../../../storage/index.ts';
import { SEGMENTS_PER_SLOT } from '../../../sys/index.ts';
import type { ChannelHandle } from '../../channel-handle.ts';
import {
  type ConnectOptions,
  type DeviceLimits,
  type Driver,
  type DriverEvents,
  type QueueChannel,
  type QueuePlan,
  silentEvents,
} from '../../driver.ts';
import { BlkioError, blkioCode } from '../../errors.ts';
import type { Property } from '../../property-table.ts';
import { type BlockLimits, blockLimits } from './block-limits.ts';
import { openFileQueue, shareFileQueue } from './shared-file-queue.ts';

const DEFAULT_ENTRIES = 128;
const MAX_ENTRIES = 4096;
const PAGE_BYTES = 4096;
const INT_MAX = 2 ** 31 - 1;
const UINT64_MAX = 2n ** 64n - 1n;
const NO_FD = -1;
/** Properties, for messages. */
const SPELLING: OptionSpelling = {
  noLocking: 'locking=false',
  directIo: 'direct=true',
  readOnly: 'read-only=true',
};
/** Bits of a descriptor's flags (O_ACCMODE). */
const ACCESS_MODES = fsConstants.O_RDONLY | fsConstants.O_WRONLY | fsConstants.O_RDWR;

/** What is known once a file is open. */
interface OpenFile {
  readonly disk: FileDisk;
  readonly block: BlockLimits | undefined;
}

/** See the module's comment. */
export class IoUringDriver implements Driver {
  readonly name = 'io_uring';
  readonly canAddQueues = true;
  events: DriverEvents = silentEvents;
  #path = '';
  #fd = NO_FD;
  #direct = false;
  #locking = true;
  #entries = DEFAULT_ENTRIES;
  #open: OpenFile | undefined;

  get slotsPerQueue(): number {
    return this.#entries;
  }

  properties(): readonly Property[] {
    return [
      {
        name: 'path',
        type: 'str',
        description: 'File or block device. Either this or fd.',
        readableFrom: 'created',
        writableUntil: 'created',
        get: () => this.#path,
        set: (value) => {
          this.#path = value as string;
        },
      },
      {
        name: 'fd',
        type: 'int',
        description: 'A descriptor of it, which the device takes over. Default: -1, none.',
        readableFrom: 'created',
        writableUntil: 'created',
        get: () => this.#fd,
        set: (value) => {
          if ((value as number) < NO_FD) throw new BlkioError('EINVAL', `fd ${String(value)}`);
          this.#fd = value as number;
        },
      },
      {
        name: 'direct',
        type: 'bool',
        description: 'Past the page cache (O_DIRECT). Default: false.',
        readableFrom: 'created',
        writableUntil: 'created',
        get: () => this.#direct,
        set: (value) => {
          this.#direct = value as boolean;
        },
      },
      {
        name: 'locking',
        type: 'bool',
        description: 'Refuse a file that another process has open for writing. Default: true.',
        readableFrom: 'created',
        writableUntil: 'created',
        get: () => this.#locking,
        set: (value) => {
          this.#locking = value as boolean;
        },
      },
      {
        name: 'num-entries',
        type: 'int',
        description: `Requests of a queue under way at a time, 1 to ${MAX_ENTRIES}. Default: 128.`,
        readableFrom: 'connected',
        writableUntil: 'connected',
        get: () => this.#entries,
        set: (value) => this.#setEntries(value as number),
      },
    ];
  }

  #setEntries(entries: number): void {
    if (entries < 1 || entries > MAX_ENTRIES) {
      throw new BlkioError('EINVAL', `num-entries ${entries}: 1 to ${MAX_ENTRIES} are possible`);
    }
    this.#entries = entries;
  }

  async connect(options: ConnectOptions): Promise<void> {
    const path = this.#chosenPath();
    // What was opened to be read is not to be written, even if it were allowed.
    const readOnly = options.readOnly || (this.#fd !== NO_FD && isReadOnlyFd(this.#fd));
    const cache = this.#direct ? 'none' : 'writeback';
    const locking = this.#locking;
    try {
      const disk = openFileDisk({
        ...{ path, readOnly, cache, locking },
        mayBeEmpty: true,
        // The property read-only tells, and `start` asks for it.
        mayRefuseWrites: true,
        isEager: true,
        spelling: SPELLING,
      });
      const stats = fstatSync(disk.descriptor);
      const block = stats.isBlockDevice() ? blockLimits(stats.rdev) : undefined;
      this.#open = { disk, block };
    } catch (error) {
      throw asBlkioError(error);
    }
  }

  #chosenPath(): string {
    const hasFd = this.#fd !== NO_FD;
    if (hasFd === (this.#path !== '')) {
      throw new BlkioError('EINVAL', 'give either the property path or the property fd');
    }
    return hasFd ? `/proc/self/fd/${this.#fd}` : this.#path;
  }

  get #file(): OpenFile {
    if (this.#open === undefined) throw new BlkioError('ENODEV', 'the device is not connected');
    return this.#open;
  }

  capacityBytes(): number {
    return this.#file.disk.fileSizeBytes();
  }

  limits(): DeviceLimits {
    const { disk, block } = this.#file;
    const { info } = disk;
    const alignment = this.#direct ? info.logicalBlockBytes : 1;
    return {
      readOnly: info.readOnly || (block?.isReadOnly ?? false),
      maxQueues: INT_MAX,
      supportsPollQueues: false,
      needsMemRegions: false,
      needsMemRegionFd: false,
      mayPinMemRegions: false,
      memRegionAlignment: 1,
      maxMemRegions: UINT64_MAX,
      bufAlignment: alignment,
      optimalBufAlignment: PAGE_BYTES,
      requestAlignment: alignment,
      optimalIoAlignment: Math.max(alignment, block?.minimumIoSize ?? 0),
      optimalIoSize: block?.optimalIoSize ?? 0,
      maxSegments: SEGMENTS_PER_SLOT,
      maxSegmentLen: 0,
      maxTransfer: 0,
      maxWriteZeroesLen: 0,
      maxDiscardLen: 0,
      discardAlignment: block?.discardGranularity || alignment,
      discardAlignmentOffset: block?.discardAlignment ?? 0,
      canDiscard: info.canDiscard,
      canWriteZeroes: info.canWriteZeroes,
      supportsFuaNatively: true,
      flushNeeded: block?.isWriteBack ?? true,
      canGrow: block === undefined && !info.readOnly,
    };
  }

  async start(): Promise<void> {
    // Queues are rings of their own.
  }

  openQueue({ reactor, requests, handler }: QueuePlan): QueueChannel {
    return openFileQueue(this.#file.disk, reactor, requests, handler);
  }

  shareQueue(): ChannelHandle {
    return shareFileQueue(this.#file.disk);
  }

  async mapRegion(): Promise<void> {
    // Any memory will do.
  }

  async unmapRegion(): Promise<void> {}

  close(): void {
    this.#open?.disk.close();
    if (this.#open !== undefined && this.#fd !== NO_FD) closeSync(this.#fd);
    this.#open = undefined;
  }
}

/** How a descriptor was opened. */
function isReadOnlyFd(fd: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
    return (Number.parseInt(flags?.[1] ?? '', 8) & ACCESS_MODES) === fsConstants.O_RDONLY;
  } catch (cause) {
    throw new BlkioError('EBADF', `the property fd: no descriptor ${fd} is open`, { cause });
  }
}

/** A reason by which storage refuses a file, as libblkio would say it. */
function asBlkioError(error: unknown): unknown {
  if (!(error instanceof StorageError)) return error;
  const options = { cause: error };
  if (error.code === 'DISK_IN_USE') return new BlkioError('EBUSY', error.message, options);
  const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
  return new BlkioError(code === undefined ? 'EINVAL' : blkioCode(code), error.message, options);
}
