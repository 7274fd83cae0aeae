/** io_uring's numbers: include/uapi/linux/io_uring.h. System call numbers are the same everywhere. */

export const Syscall = { SETUP: 425, ENTER: 426, REGISTER: 427 } as const;

/** Offsets at which the rings are mapped. */
export const RingOffset = { SQ_RING: 0, SQES: 0x10000000 } as const;

/** struct io_uring_params: byte offsets. */
export const Params = {
  BYTES: 120,
  SQ_ENTRIES: 0,
  CQ_ENTRIES: 4,
  FLAGS: 8,
  FEATURES: 20,
  SQ_HEAD: 40,
  SQ_TAIL: 44,
  SQ_FLAGS: 56,
  SQ_ARRAY: 64,
  CQ_HEAD: 80,
  CQ_TAIL: 84,
  CQ_OVERFLOW: 96,
  CQ_CQES: 100,
  CQ_FLAGS: 104,
} as const;

/** io_uring_setup flags. */
export const Setup = {
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  R_DISABLED: 1 << 6,
  COOP_TASKRUN: 1 << 8,
  TASKRUN_FLAG: 1 << 9,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
} as const;

/** Features the kernel reports at set-up. */
export const Feature = {
  SINGLE_MMAP: 1 << 0,
  NODROP: 1 << 1,
  SUBMIT_STABLE: 1 << 2,
  FAST_POLL: 1 << 5,
  EXT_ARG: 1 << 8,
  RSRC_TAGS: 1 << 10,
  CQE_SKIP: 1 << 11,
} as const;

/** io_uring_enter flags. */
export const Enter = { GETEVENTS: 1 << 0, EXT_ARG: 1 << 3 } as const;

/** Flags the kernel sets in the submission ring. */
export const SqFlag = { CQ_OVERFLOW: 1 << 1, TASKRUN: 1 << 2 } as const;

/** Flag the application sets in the completion ring: no signal on the registered eventfd. */
export const CQ_EVENTFD_DISABLED = 1;

/** Flags of a submission. */
export const Sqe = { FIXED_FILE: 1 << 0, IO_LINK: 1 << 2, CQE_SKIP_SUCCESS: 1 << 6 } as const;

/** Flags of a completion. */
export const Cqe = { MORE: 1 << 1 } as const;

/** Operations. */
export const Op = {
  NOP: 0,
  READV: 1,
  WRITEV: 2,
  FSYNC: 3,
  POLL_ADD: 6,
  POLL_REMOVE: 7,
  ASYNC_CANCEL: 14,
  FALLOCATE: 17,
  READ: 22,
  WRITE: 23,
  SEND: 26,
} as const;

/** IORING_POLL_ADD_MULTI: one submission, a completion at every event. */
export const POLL_ADD_MULTI = 1;
/** IORING_FSYNC_DATASYNC. */
export const FSYNC_DATASYNC = 1;

/** io_uring_register operations. */
export const Register = {
  FILES: 2,
  EVENTFD: 4,
  FILES_UPDATE: 6,
  PROBE: 8,
  RESTRICTIONS: 11,
  ENABLE_RINGS: 12,
} as const;

/** What a restriction (struct io_uring_restriction) is about. */
export const Restriction = { REGISTER_OP: 0, SQE_OP: 1, SQE_FLAGS_ALLOWED: 2 } as const;
