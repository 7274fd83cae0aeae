/** Numbers of the virtio block device (virtio 1.3, 5.2). */

/** Bytes of a sector, the unit of capacity and of request addresses, whatever the block size. */
export const SECTOR_BYTES = 512;

/** Feature bits (5.2.3). */
export const BlockFeature = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;

/** Request types (5.2.6). */
export const RequestType = {
  IN: 0,
  OUT: 1,
  FLUSH: 4,
  GET_ID: 8,
  DISCARD: 11,
  WRITE_ZEROES: 13,
} as const;

/** Status bytes (5.2.6). */
export const Status = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;

/** Bytes of a request's header: le32 type, le32 reserved, le64 sector. */
export const HEADER_BYTES = 16;
/** Bytes of a segment of DISCARD and WRITE_ZEROES: le64 sector, le32 num_sectors, le32 flags. */
export const RANGE_BYTES = 16;
/** Segment flag: the range may be deallocated. */
export const RANGE_UNMAP = 1;
/** Bytes of the device ID string, padded with NUL. */
export const ID_BYTES = 20;

/**
 * What the device allows in one request. The driver is told; larger requests get IOERR.
 *
 * `SEGMENTS`: with header and status 128 descriptors, what QEMU's default ring holds.
 * `SEGMENT_BYTES`: of a segment; larger ones are taken as long as all data is no more than allowed.
 * `RANGE_SECTORS`: 32 MiB: where zeros must be written, one request should not take seconds.
 */
export const Limit = {
  SEGMENTS: 126,
  SEGMENT_BYTES: 1024 * 1024,
  DATA_BYTES: 126 * 2 ** 20,
  RANGES: 16,
  RANGE_SECTORS: 2 ** 16,
} as const;
