/**
 * The packed virtqueue in memory (virtio 1.3, 2.8). All fields are little-endian.
 *
 *     descriptor ring, 16-byte aligned       driver and device event suppression, 4 each
 *     +------------------------------+       +----------------------------+
 *     | u64 addr | u32 len |         |       | u16 offset : 15 | wrap : 1 |
 *     | u16 id | u16 flags | x size  |       | u16 flags                  |
 *     +------------------------------+       +----------------------------+
 *
 * Driver and device go round the same ring. Each keeps a wrap counter, which begins with 1 and flips
 * at the end of the ring: AVAIL and USED bits say of which lap a descriptor is, and whose turn.
 *
 * A *position* is offset and wrap counter in one number from 0 to 2 * size - 1: the first lap (wrap
 * counter 1) begins at 0, the second (0) at `size`. Distances are modulo 2 * size.
 */

/** Descriptor flags beside those of `DescriptorFlag`. */
export const PackedFlag = { AVAIL: 1 << 7, USED: 1 << 15 } as const;
/** Both bits that say whose a descriptor is. */
export const OWNER_MASK: number = PackedFlag.AVAIL | PackedFlag.USED;

/** Words of a descriptor: 32 bits each for address and length, 16 each for id and flags. */
export const PackedWord = {
  WORDS_32: 4,
  LENGTH: 2,
  ID_AND_FLAGS: 3,
  WORDS_16: 8,
  ID: 6,
  FLAGS: 7,
} as const;

/** Bytes of an event suppression structure (2.8.10). */
export const EVENT_SUPPRESSION_BYTES = 4;

/** Flags of an event suppression structure. `AT_POSITION` (DESC) needs VIRTIO_F_EVENT_IDX. */
export const EventFlag = { ENABLE: 0, DISABLE: 1, AT_POSITION: 2 } as const;

const WRAP_BIT = 1 << 15;
const OFFSET_MASK = WRAP_BIT - 1;

/** Owner bits of a descriptor made available at a position (2.8.1). */
export function availableBits(position: number, size: number): number {
  return position < size ? PackedFlag.AVAIL : PackedFlag.USED;
}

/** Owner bits of one used at a position. */
export function usedBits(position: number, size: number): number {
  return position < size ? OWNER_MASK : 0;
}

/** Where in the ring a position is. */
export function offsetOf(position: number, size: number): number {
  return position < size ? position : position - size;
}

/** The position `count` descriptors on; `count` is at most `size`. */
export function advance(position: number, count: number, size: number): number {
  const next = position + count;
  return next < 2 * size ? next : next - 2 * size;
}

/** How many descriptors lie from one position to another. */
export function distance(from: number, to: number, size: number): number {
  return to >= from ? to - from : to - from + 2 * size;
}

/** Offset and wrap counter as they are in memory and in messages: 15 bits and one. */
function pack(position: number, size: number): number {
  return position < size ? position | WRAP_BIT : position - size;
}

function unpack(packed: number, size: number): number {
  const offset = packed & OFFSET_MASK;
  return (packed & WRAP_BIT) === 0 ? offset + size : offset;
}

/** An event suppression structure that asks for a notification at a position. */
export function eventAt(position: number, size: number): number {
  return pack(position, size) | (EventFlag.AT_POSITION << 16);
}

/** An event suppression structure that has nothing but flags. */
export function eventFlags(flags: number): number {
  return flags << 16;
}

/**
 * Whether the other side wants to be told that descriptors from one position to another have changed
 * hands (2.8.10).
 *
 * @param event - its event suppression structure, read once.
 */
export function isEventWanted(
  event: number,
  eventIdx: boolean,
  from: number,
  to: number,
  size: number,
): boolean {
  const flags = (event >>> 16) & 3;
  if (flags === EventFlag.DISABLE) return false;
  // What makes no sense is taken for the wish that loses no wake-up.
  if (flags !== EventFlag.AT_POSITION || !eventIdx) return true;
  const wanted = unpack(event & 0xffff, size);
  return distance(from, wanted, size) < distance(from, to, size);
}

/**
 * Where a ring stands, as vhost-user has it for SET_VRING_BASE and GET_VRING_BASE: the next available
 * position in the lower 16 bits, the next used one in the upper.
 */
export function packedBase(available: number, used: number, size: number): number {
  return ((pack(used, size) << 16) | pack(available, size)) >>> 0;
}

/** Positions in a base that `isValidPackedBase`. */
export function positionsOfBase(
  base: number,
  size: number,
): { readonly available: number; readonly used: number } {
  const available = unpack(base & 0xffff, size);
  const used = unpack(base >>> 16, size);
  // Of a ring that is all under way nothing could be taken, ever: the driver has not said where used
  // descriptors go on (DPDK's gives the lower half alone), which is where the available ones do.
  return { available, used: distance(used, available, size) === size ? available : used };
}

/** Whether a base is one of a ring of this size. */
export function isValidPackedBase(base: number, size: number): boolean {
  if ((base & OFFSET_MASK) >= size || ((base >>> 16) & OFFSET_MASK) >= size) return false;
  return distance(unpack(base >>> 16, size), unpack(base & 0xffff, size), size) <= size;
}
