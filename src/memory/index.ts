/** The guest's address space: regions, translation, and the log of what was written. */
export { DirtyLog, LOG_PAGE_BYTES } from './dirty-log.ts';
export { GuestMemory, type MemoryRegion, regionOfUser } from './guest-memory.ts';
