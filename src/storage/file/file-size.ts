/** How large a file or block device is. */
import { fstatSync } from 'node:fs';
import { blockDeviceGeometry } from '../../sys/index.ts';

const SECTOR_BYTES = 512;

/** As of now, to the byte. */
export function fileSizeBytes(fd: number, isBlockDevice: boolean): number {
  return isBlockDevice ? blockDeviceGeometry(fd).sizeBytes : fstatSync(fd).size;
}

/**
 * As a disk: the last sector of an image of odd size is there in part, and the rest of it reads as
 * zeros.
 */
export function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}
