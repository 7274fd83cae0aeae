/** A qcow2 image as a disk. Used by the thread that opened it. */
import { type Logger, type Reactor, takeAll } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskHandle, DiskInfo, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import type { Qcow2Header } from './header.ts';
import { Qcow2Channel } from './qcow2-channel.ts';
import type { Qcow2Image } from './qcow2-image.ts';
import type { TableMode } from './table-mode.ts';

/** The disks that an image is made of; they are closed with it. */
export interface Qcow2Below {
  readonly lower: Disk;
  readonly backing: Disk | undefined;
}

/** See the module's comment. */
export class Qcow2Disk implements Disk {
  readonly kind = 'qcow2';
  readonly needsEventLoop: string = 'its tables are read when they are needed';
  readonly needsOutside: string | undefined;
  readonly info: DiskInfo;
  readonly description: string;
  readonly below: readonly Disk[];
  readonly flushesFailed: Promise<string> | undefined;
  readonly #image: Qcow2Image;
  readonly #below: Qcow2Below;

  constructor(image: Qcow2Image, header: Qcow2Header, below: Qcow2Below) {
    const { lower, backing } = below;
    this.#image = image;
    this.#below = below;
    this.below = backing === undefined ? [lower] : [lower, backing];
    this.info = infoOf(header, below);
    this.description = describe(header, this.info, image.tableMode);
    this.needsOutside = lower.needsOutside ?? backing?.needsOutside;
    this.flushesFailed = lower.flushesFailed;
  }

  get descriptor(): number | undefined {
    return this.#below.lower.descriptor;
  }

  nameProblem(): string | undefined {
    return this.#below.lower.nameProblem?.();
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  useLogger(logger: Logger): void {
    this.#image.log.useLogger(logger);
    for (const disk of this.below) disk.useLogger?.(logger);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    return new Qcow2Channel(this.#image, this.#below, reactor, requests, handler);
  }

  share(): DiskHandle {
    throw new TypeError('a qcow2 image stays in its thread');
  }

  async close(): Promise<void> {
    await takeAll([this.#image, ...this.below].map((each) => () => each.close()));
  }
}

function infoOf(header: Qcow2Header, { lower, backing }: Qcow2Below): DiskInfo {
  const { readOnly, writeBack, physicalBlockBytes } = lower.info;
  const logicalBlockBytes = Math.max(
    lower.info.logicalBlockBytes,
    backing?.info.logicalBlockBytes ?? 0,
  );
  return {
    sizeBytes: header.sizeBytes,
    readOnly,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(logicalBlockBytes, physicalBlockBytes),
    minIoBytes: 0,
    optimalIoBytes: 0,
    canDiscard: !readOnly,
    canWriteZeroes: !readOnly,
    // Tables are in memory until a flush, whatever the disk below does.
    writeBack: writeBack || !readOnly,
  };
}

function describe(header: Qcow2Header, info: DiskInfo, tables: TableMode): string {
  const { version, clusterBits, snapshotCount } = header;
  const snapshots = snapshotCount === 0 ? '' : `, ${snapshotCount} internal snapshots`;
  const mode = info.readOnly ? 'read-only' : `tables=${tables}`;
  return `qcow2 version ${version} of ${info.sizeBytes} bytes, clusters of ${2 ** clusterBits}${snapshots}, ${mode}`;
}
