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
export const RingFeature = {
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  RING_PACKED: 34,
} as const;

/** Bytes of a descriptor. */
export const DESCRIPTOR_BYTES = 16;

/** Descriptor flags. */
export const DescriptorFlag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** Available ring flag: the driver wants no calls. */
export const AVAIL_NO_INTERRUPT = 1;
/** Used ring flag: the device wants no kicks. */
export const USED_NO_NOTIFY = 1;

/** Where things are in both rings, in 16-bit words. */
export const RING_FLAGS = 0;
export const RING_IDX = 1;
/** Index of the first entry: of the available ring in 16-bit words, of the used in 32-bit ones. */
export const FIRST_AVAILABLE = 2;
export const FIRST_USED = 1;

/** Largest ring the specification allows. */
export const MAX_RING_SIZE = 32768;

/** Whether the other side wants to be told that an index moved from `before` to `now` (2.7.10). */
export function needsEvent(eventIdx: number, now: number, before: number): boolean {
  return ((now - eventIdx - 1) & 0xffff) < ((now - before) & 0xffff);
}
