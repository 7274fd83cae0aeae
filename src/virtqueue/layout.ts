/**
 * The split virtqueue in memory (virtio 1.3, 2.7). All fields are little-endian.
 *
 *     descriptor table, 16-byte aligned      available ring, 2         used ring, 4
 *     +------------------------------+       +--------------+          +--------------------+
 *     | u64 addr | u32 len |         |       | u16 flags    |          | u16 flags          |
 *     | u16 flags | u16 next | x size|       | u16 idx      |          | u16 idx            |
 *     +------------------------------+       | u16 ring[]   |          | {u32 id, u32 len}[]|
 *                                            | u16 used_event          | u16 avail_event    |
 *                                            +--------------+          +--------------------+
 */

/** Ring feature bits. */
export const RingFeature = { INDIRECT_DESC: 28, EVENT_IDX: 29, VERSION_1: 32 } as const;

/** Bytes of a descriptor. */
export const DESCRIPTOR_BYTES = 16;

/** Descriptor flags. */
export const DescriptorFlag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** Available ring flag: the driver wants no calls. */
export const AVAIL_NO_INTERRUPT = 1;
/** Used ring flag: the device wants no kicks. */
export const USED_NO_NOTIFY = 1;

/** Largest ring the specification allows. */
export const MAX_RING_SIZE = 32768;

/** Whether a ring may have this size: a power of two, at most 32768 (2.7). */
export function isValidRingSize(size: number): boolean {
  return size > 0 && size <= MAX_RING_SIZE && (size & (size - 1)) === 0;
}

/** Bytes of the three parts of a ring of `size` descriptors, event fields included. */
export function ringBytes(size: number): { descriptors: number; available: number; used: number } {
  return { descriptors: DESCRIPTOR_BYTES * size, available: 6 + 2 * size, used: 6 + 8 * size };
}

/** Alignment of the three parts (2.7). */
export const RingAlignment = { DESCRIPTORS: 16, AVAILABLE: 2, USED: 4 } as const;

/** Whether the other side wants to be told that an index moved from `before` to `now` (2.7.10). */
export function needsEvent(eventIdx: number, now: number, before: number): boolean {
  return ((now - eventIdx - 1) & 0xffff) < ((now - before) & 0xffff);
}
