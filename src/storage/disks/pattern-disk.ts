/**
 * A disk whose content is a function of the offset: each 8 bytes are their own offset, big-endian,
 * as with nbdkit's pattern plugin. What is written has to be that, too.
 */
import type { Logger, Reactor } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskInfo, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { checkBlockSize } from '../file/open-file-disk.ts';
import { type DiskKind, DiskPlan } from '../plan/disk-kind.ts';
import { diskBytes } from '../plan/parameter-types.ts';
import { PatternChannel } from './pattern-channel.ts';
import { WrongWrites } from './wrong-writes.ts';

const DEFAULT_BLOCK_BYTES = 512;

/** A pattern disk for another thread. */
export interface PatternDiskHandle {
  readonly kind: 'pattern';
  readonly info: DiskInfo;
  readonly wrongWrites: SharedArrayBuffer;
}

/** See the module's comment. */
export class PatternDisk implements Disk {
  readonly kind = 'pattern';
  readonly below: readonly Disk[] = [];
  readonly info: DiskInfo;
  readonly description: string;
  /** Writes of something else, of all threads. */
  readonly wrongWrites: WrongWrites;
  #logger: Logger | undefined;

  constructor(info: DiskInfo, wrongWrites?: SharedArrayBuffer) {
    this.info = info;
    this.description = `pattern of ${info.sizeBytes} bytes: each 8 bytes are their offset`;
    this.wrongWrites = new WrongWrites(wrongWrites);
  }

  useLogger(logger: Logger): void {
    this.#logger = logger;
  }

  openChannel(
    _reactor: Reactor,
    requests: DiskRequests,
    _handler: DiskRequestHandler,
  ): DiskChannel {
    return new PatternChannel(requests, this.wrongWrites);
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  share(): PatternDiskHandle {
    return { kind: 'pattern', info: this.info, wrongWrites: this.wrongWrites.buffer };
  }

  close(): void {
    const { count, firstOffset } = this.wrongWrites;
    if (count === 0) return;
    const writes = count === 1 ? 'one write was' : `${count} writes were`;
    this.#logger?.warn(`pattern: ${writes} not the pattern, the first at offset ${firstOffset}`);
  }
}

/** See the kind's parameters. */
export interface PatternParameters {
  readonly size: number;
}

/** The kind `pattern`. */
export const patternKind: DiskKind<PatternParameters> = {
  name: 'pattern',
  summary: 'each 8 bytes are their own offset; writes of anything else fail',
  below: 'none',
  primary: 'size',
  parameters: { size: { type: diskBytes, summary: 'size of the disk', isRequired: true } },
  open({ parameters, options }) {
    const { readOnly = false, blockBytes = DEFAULT_BLOCK_BYTES } = options;
    checkBlockSize(blockBytes);
    return new PatternDisk({
      sizeBytes: parameters.size,
      readOnly,
      logicalBlockBytes: blockBytes,
      physicalBlockBytes: blockBytes,
      minIoBytes: 0,
      optimalIoBytes: 0,
      // What is zeroed or discarded would not be the pattern.
      canDiscard: false,
      canWriteZeroes: false,
      writeBack: false,
    });
  },
};

/** A disk of `size` bytes, each 8 of which are their own offset. */
export function pattern(size: number): DiskPlan {
  return new DiskPlan(patternKind, { size });
}
