/** struct epoll_event { u32 events; u64 data }: packed on x86-64 only (epoll_ctl(2)). */

/** Bytes of one. */
export const EPOLL_EVENT_BYTES: number = process.arch === 'x64' ? 12 : 16;
/** Where its `data` begins; `events` are at the start. */
export const EPOLL_EVENT_DATA_AT: number = EPOLL_EVENT_BYTES - 8;
