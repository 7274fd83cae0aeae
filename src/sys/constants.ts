/**
 * Linux constants (include/uapi), those that Node does not export. The same on x86-64 and arm64;
 * the ones that differ (O_DIRECT, O_DIRECTORY) come from `node:fs`.
 */
import { constants } from 'node:fs';

/** open(2). */
export const Open = {
  RDONLY: constants.O_RDONLY,
  RDWR: constants.O_RDWR,
  EXCL: constants.O_EXCL,
  NONBLOCK: constants.O_NONBLOCK,
  DIRECT: constants.O_DIRECT,
  NOFOLLOW: constants.O_NOFOLLOW,
  PATH: 0o10000000,
  CLOEXEC: 0o2000000,
} as const;

/** mmap(2). */
export const Mmap = {
  PROT_READ: 1,
  PROT_WRITE: 2,
  SHARED: 1,
  PRIVATE: 2,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  NORESERVE: 0x4000,
} as const;

/** Functions that take a folder's descriptor: the current one, and the descriptor itself. */
export const At = { FDCWD: -100, EMPTY_PATH: 0x1000 } as const;

/** socket(2), unix(7), sendmsg(2). */
export const Socket = {
  AF_UNIX: 1,
  STREAM: 1,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SCM_RIGHTS: 1,
  SO_TYPE: 3,
  SO_PEERCRED: 17,
  SO_ACCEPTCONN: 30,
  FIONBIO: 0x5421,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CTRUNC: 8,
  MSG_CMSG_CLOEXEC: 0x40000000,
} as const;

/** eventfd(2), memfd_create(2). */
export const EventFdFlag = { CLOEXEC: 0o2000000, NONBLOCK: 0o4000 } as const;
export const MemFdFlag = { CLOEXEC: 1, ALLOW_SEALING: 2 } as const;

/** fcntl(2): descriptors' flags, open file description locks, duplicates, seals. */
export const Fcntl = {
  SETFD: 2,
  CLOEXEC: 1,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  RDLCK: 0,
  WRLCK: 1,
  UNLCK: 2,
  DUPFD_CLOEXEC: 1030,
  ADD_SEALS: 1033,
} as const;

/** What cannot be done to a memory file any more (fcntl(2), F_ADD_SEALS). */
export const Seal = { SEAL: 1, SHRINK: 2, GROW: 4 } as const;

/** epoll(7). */
export const Epoll = {
  CLOEXEC: 0o2000000,
  CTL_ADD: 1,
  CTL_DEL: 2,
  IN: 1,
  OUT: 4,
  RDHUP: 0x2000,
  ET: 0x80000000,
} as const;

/** lseek(2): holes. */
export const Seek = { DATA: 3, HOLE: 4 } as const;

/** fallocate(2). */
export const Fallocate = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;

/** ioctl_list(2) of block devices: linux/fs.h. */
export const BlockIoctl = {
  GET_READ_ONLY: 0x125e, // BLKROGET: int
  GET_SECTOR_SIZE: 0x1268, // BLKSSZGET: int
  GET_SIZE_BYTES: 0x80081272, // BLKGETSIZE64: u64
  GET_PHYSICAL_SIZE: 0x127b, // BLKPBSZGET: uint
  GET_MIN_IO: 0x1278, // BLKIOMIN: uint
  GET_OPT_IO: 0x1279, // BLKIOOPT: uint
  DISCARD: 0x1277, // BLKDISCARD: u64[2]
} as const;

/** preadv2(2). */
export const ReadWriteFlag = { DSYNC: 2, NOWAIT: 8 } as const;

/** statfs(2): file systems whose files live in memory, or in huge pages. */
export const FileSystemMagic = {
  TMPFS: 0x01021994,
  RAMFS: 0x858458f6,
  HUGETLBFS: 0x958458f6,
} as const;

/** statx(2). */
export const Statx = {
  AT_EMPTY_PATH: 0x1000,
  DIOALIGN: 0x2000,
  MASK_OFFSET: 0,
  DIO_MEM_ALIGN_OFFSET: 0x98,
  DIO_OFFSET_ALIGN_OFFSET: 0x9c,
  STRUCT_BYTES: 256,
} as const;
