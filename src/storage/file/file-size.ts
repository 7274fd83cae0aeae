/** How large a file or block device is as a disk. */
import { fstatSync } from 'node:fs';
import { blockDeviceGeometry } from '../../sys/index.ts';

const SECTOR_BYTES = 512;

/**
 * In whole sectors, as of now: the last one of an image of odd size is there in part, and the rest
 * of it reads as zeros.
 */
export function diskSizeBytes(fd: number, isBlockDevice: boolean): number {
  const bytes = isBlockDevice ? blockDeviceGeometry(fd).sizeBytes : fstatSync(fd).size;
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}
