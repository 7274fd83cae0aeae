/**
 * What a file can do: the questions a disk asks before it decides how to reach its file.
 */
import { BlockIoctl, FileSystemMagic, Statx } from './constants.ts';
import { call } from './errors.ts';
import { lastErrno, libc } from './libc.ts';

const STATFS_BYTES = 256;

/** Alignment that direct I/O asks for, in bytes. */
export interface DirectIoAlignment {
  /** Of the addresses of buffers. */
  readonly memoryBytes: number;
  /** Of offsets and lengths. */
  readonly offsetBytes: number;
}

/** Sizes of a block device, in bytes. 0: the device does not say. */
export interface BlockDeviceGeometry {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly minIoBytes: number;
  readonly optimalIoBytes: number;
}

/** Whether the file's data lives in memory: no call on it ever waits for a device. */
export function isMemoryBacked(fd: number): boolean {
  const statfs = new DataView(new ArrayBuffer(STATFS_BYTES));
  call('fstatfs', fd, statfs);
  const magic = statfs.getUint32(0, true);
  return (
    magic === FileSystemMagic.TMPFS ||
    magic === FileSystemMagic.RAMFS ||
    magic === FileSystemMagic.HUGETLBFS
  );
}

/**
 * The file's direct I/O alignment (statx STATX_DIOALIGN, Linux 6.1), or `undefined` where the
 * kernel does not know or the file has no direct I/O.
 */
export function directIoAlignment(fd: number): DirectIoAlignment | undefined {
  const statx = new DataView(new ArrayBuffer(Statx.STRUCT_BYTES));
  if (libc.statx(fd, '', Statx.AT_EMPTY_PATH, Statx.DIOALIGN, statx) === -1) return undefined;
  if ((statx.getUint32(Statx.MASK_OFFSET, true) & Statx.DIOALIGN) === 0) return undefined;
  const memoryBytes = statx.getUint32(Statx.DIO_MEM_ALIGN_OFFSET, true);
  const offsetBytes = statx.getUint32(Statx.DIO_OFFSET_ALIGN_OFFSET, true);
  return offsetBytes === 0 ? undefined : { memoryBytes, offsetBytes };
}

/**
 * Whether a block device refuses writes, set so by its administrator or by what it is. It can be
 * opened to be written all the same.
 */
export function isReadOnlyDevice(fd: number): boolean {
  const value = new DataView(new ArrayBuffer(4));
  return libc.ioctl(fd, BlockIoctl.GET_READ_ONLY, value) === 0 && value.getInt32(0, true) !== 0;
}

/** Ask a block device for its sizes. */
export function blockDeviceGeometry(fd: number): BlockDeviceGeometry {
  const value = new DataView(new ArrayBuffer(8));
  const ask32 = (request: number): number =>
    libc.ioctl(fd, request, value) === -1 ? 0 : value.getUint32(0, true);
  call('ioctl', fd, BlockIoctl.GET_SIZE_BYTES, value);
  const sizeBytes = Number(value.getBigUint64(0, true));
  return {
    sizeBytes,
    logicalBlockBytes: ask32(BlockIoctl.GET_SECTOR_SIZE),
    physicalBlockBytes: ask32(BlockIoctl.GET_PHYSICAL_SIZE),
    minIoBytes: ask32(BlockIoctl.GET_MIN_IO),
    optimalIoBytes: ask32(BlockIoctl.GET_OPT_IO),
  };
}

/**
 * Tell a block device that a range is not needed any more (BLKDISCARD), in the calling thread.
 *
 * @returns 0 or a negative errno.
 */
export function discardRange(fd: number, offsetBytes: number, lengthBytes: number): number {
  const range = BigUint64Array.of(BigInt(offsetBytes), BigInt(lengthBytes));
  return libc.ioctl(fd, BlockIoctl.DISCARD, range) === -1 ? -lastErrno() : 0;
}
