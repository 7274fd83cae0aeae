/** Flags of requests, with libblkio's numbers. They are combined by `|`. */
export const RequestFlag = {
  /** Writes and zeroes: on stable storage before the request completes. */
  FUA: 1,
  /** Write zeroes: keep the space allocated. */
  NO_UNMAP: 2,
  /** Write zeroes: fail with ENOTSUP rather than write zeros from memory. */
  NO_FALLBACK: 4,
} as const;
