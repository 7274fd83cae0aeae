/** Disks: what they are, and those that come with vhostkit. */
export { adoptDisk } from './adopt-disk.ts';
export type {
  Disk,
  DiskChannel,
  DiskClaim,
  DiskHandle,
  DiskInfo,
  DiskRequestHandler,
} from './disk.ts';
export { DiskFlag, DiskOperation, DiskRequests } from './disk-requests.ts';
export { StorageError, type StorageErrorCode } from './errors.ts';
export { FileDisk, type FileDiskHandle } from './file/file-disk.ts';
export {
  CACHE_MODES,
  type CacheMode,
  type OptionSpelling,
  openFileDisk,
} from './file/open-file-disk.ts';
export { NullDisk } from './null-disk.ts';
export { type DiskSpecification, openDisk, parseDiskOption, parseSize } from './open-disk.ts';
