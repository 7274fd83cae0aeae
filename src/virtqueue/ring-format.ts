/**
 * The two formats of a virtqueue (virtio 1.3, 2.6), and what they ask of the memory that a ring is
 * in. Both have three parts: the descriptor area, the driver area, which the driver writes, and the
 * device area, which the device writes. vhost-user and this code call the last two by what they are
 * in a split virtqueue, the available and the used ring; in a packed one they hold event suppression
 * structures.
 */
import { DESCRIPTOR_BYTES, MAX_RING_SIZE, RingFeature } from './layout.ts';
import { EVENT_SUPPRESSION_BYTES, isValidPackedBase, packedBase } from './packed-layout.ts';

/** `split`: 2.7. `packed`: 2.8. */
export type RingFormat = 'split' | 'packed';

/** The format that the negotiated features stand for. */
export function ringFormat(features: bigint): RingFormat {
  return (features & (1n << BigInt(RingFeature.RING_PACKED))) === 0n ? 'split' : 'packed';
}

/** Where a ring's three parts are mapped, exactly as long as `ringBytes` says. */
export interface RingMemory {
  readonly size: number;
  readonly descriptors: ArrayBuffer;
  /** The driver area. */
  readonly available: ArrayBuffer;
  /** The device area. */
  readonly used: ArrayBuffer;
  /** Where the guest has the descriptor area, to which the device of a packed ring writes. */
  readonly descriptorsGuestAddress?: number | undefined;
}

/** A number for each of a ring's parts. */
interface RingParts {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

/** Whether a ring may have this size: at most 32768 (2.7, 2.8.10.1), a split one a power of two. */
export function isValidRingSize(size: number, format: RingFormat = 'split'): boolean {
  if (!Number.isInteger(size) || size <= 0 || size > MAX_RING_SIZE) return false;
  return format === 'packed' || (size & (size - 1)) === 0;
}

/** Bytes of the three parts of a ring of `size` descriptors, event fields included. */
export function ringBytes(size: number, format: RingFormat = 'split'): RingParts {
  const descriptors = DESCRIPTOR_BYTES * size;
  return format === 'packed'
    ? { descriptors, available: EVENT_SUPPRESSION_BYTES, used: EVENT_SUPPRESSION_BYTES }
    : { descriptors, available: 6 + 2 * size, used: 6 + 8 * size };
}

/** Alignment of the three parts in bytes (2.7, 2.8.10.1). */
export const RING_ALIGNMENT: Readonly<Record<RingFormat, RingParts>> = {
  split: { descriptors: 16, available: 2, used: 4 },
  packed: { descriptors: 16, available: 4, used: 4 },
};

/** Where a ring begins that has never run, as SET_VRING_BASE says it. */
export function firstBase(format: RingFormat): number {
  return format === 'packed' ? packedBase(0, 0, MAX_RING_SIZE) : 0;
}

/** Whether a ring of this size can go on from a base (SET_VRING_BASE). */
export function isValidBase(base: number, size: number, format: RingFormat): boolean {
  if (format === 'split') return base <= 0xffff;
  return isValidPackedBase(base, size);
}
