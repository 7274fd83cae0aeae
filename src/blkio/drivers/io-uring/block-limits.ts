/** What the kernel's block layer says of the device behind a file, in /sys. */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** Limits of a block device, in bytes; 0: it does not say. */
export interface BlockLimits {
  readonly maxSegments: number;
  readonly maxSegmentLen: number;
  readonly optimalIoSize: number;
  readonly minimumIoSize: number;
  readonly discardGranularity: number;
  readonly discardAlignment: number;
  readonly discardMaxBytes: number;
  readonly isWriteBack: boolean;
  /** Set so by its administrator, or by what it is: opening it to write does not tell. */
  readonly isReadOnly: boolean;
}

/** Read them. @param deviceNumber - `st_rdev` of the device. */
export function blockLimits(deviceNumber: number): BlockLimits {
  const folder = deviceFolder(deviceNumber);
  // A partition has the queue of the disk that it is part of.
  const isPartition = existsSync(join(folder, 'partition'));
  const queue = join(folder, isPartition ? '../queue' : 'queue');
  const number = (name: string): number => {
    const value = Number(textOf(join(queue, name)));
    // Some limits are "none" by being as large as the field.
    return Number.isInteger(value) && value > 0 && value < 2 ** 31 ? value : 0;
  };
  return {
    maxSegments: number('max_segments'),
    maxSegmentLen: number('max_segment_size'),
    optimalIoSize: number('optimal_io_size'),
    minimumIoSize: number('minimum_io_size'),
    discardGranularity: number('discard_granularity'),
    discardAlignment: number('../discard_alignment'),
    discardMaxBytes: number('discard_max_bytes'),
    isWriteBack: textOf(join(queue, 'write_cache')) !== 'write through',
    isReadOnly: textOf(join(folder, 'ro')) === '1',
  };
}

function deviceFolder(deviceNumber: number): string {
  const device = BigInt(deviceNumber);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  const link = `/sys/dev/block/${major}:${minor}`;
  try {
    return realpathSync(link);
  } catch {
    return link;
  }
}

/** What a file in /sys says; nothing if it is not there. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
