/** How large a file or block device is. */
import { fstatSync } from 'node:fs';
import { blockDeviceGeometry, resizeFile } from '../../sys/index.ts';

const SECTOR_BYTES = 512;

/** As of now, to the byte. */
export function fileSizeBytes(fd: number, isBlockDevice: boolean): number {
  return isBlockDevice ? blockDeviceGeometry(fd).sizeBytes : fstatSync(fd).size;
}

/** Have a regular file reach to `bytes` at least. Throws a `SystemError`. */
export function growFile(fd: number, bytes: number): void {
  if (fstatSync(fd).size < bytes) resizeFile(fd, bytes);
}

/**
 * As a disk: the last sector of an image of odd size is there in part, and the rest of it reads as
 * zeros.
 */
export function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/**
 * Whether a read up to `endBytes`, behind the end of a file, may give zeros there: only what is
 * missing of the file's last sector. Of a file that somebody has truncated nothing is known there.
 */
export function restIsZeros(fileBytes: number, endBytes: number): boolean {
  return endBytes <= wholeSectors(fileBytes);
}
