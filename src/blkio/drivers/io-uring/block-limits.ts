/** What the kernel's block layer says of the device behind a file, in /sys. */
import { readFileSync, realpathSync } from 'node:fs';
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
}

/** Read them. @param deviceNumber - `st_rdev` of the device. */
export function blockLimits(deviceNumber: number): BlockLimits {
  const folder = queueFolder(deviceNumber);
  const text = (name: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8').trim();
    } catch {
      return '';
    }
  };
  const number = (name: string): number => {
    const value = Number(text(name));
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
    isWriteBack: text('write_cache') !== 'write through',
  };
}

/** A partition has the queue of the disk that it is part of. */
function queueFolder(deviceNumber: number): string {
  const device = BigInt(deviceNumber);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  const link = `/sys/dev/block/${major}:${minor}`;
  try {
    const folder = realpathSync(link);
    const isPartition = fileExists(join(folder, 'partition'));
    return join(folder, isPartition ? '../queue' : 'queue');
  } catch {
    return join(link, 'queue');
  }
}

function fileExists(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}
