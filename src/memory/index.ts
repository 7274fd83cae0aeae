/** The guest's address space: regions and translation. */
export { GuestMemory, type MemoryRegion } from './guest-memory.ts';
