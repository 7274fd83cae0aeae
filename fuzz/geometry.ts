/**
 * Where things are in the fuzzer's guest and on the disk: fixed, so that cases can be read, and so
 * that it is known which sectors the device may have written, whatever was done to its rings.
 *
 * Guest memory is three regions, the first two next to each other. In the first are rings, and
 * behind them *slots* of a page each: a request has its indirect table, header, status byte and
 * data at fixed places of its slot.
 *
 *     slot | table        | header 0x7c0 | status 0x7f0 | data 0x800 ...
 *
 * All that is not in use has bits set that make no header and no range (`POISON`). A stray
 * address leads the device to bytes that are no request that writes, or to a header some case made:
 * those name only sectors of the window, or beyond the end. So the sectors before the window never
 * change. Writes go upwards: a length that is wrong does not matter.
 */
import { SECTOR_BYTES } from '../src/virtio-blk/index.ts';

/** A region of guest memory that a case can share. */
export interface RegionPlace {
  readonly guestAddress: number;
  /** In the front-end's address space: any number that differs from guest addresses does. */
  readonly userAddress: number;
  readonly sizeBytes: number;
}

const USER_BASE = 0x7000_0000_0000;
const USER_SPACING = 2 ** 36;

function region(index: number, guestAddress: number, sizeBytes: number): RegionPlace {
  return { guestAddress, userAddress: USER_BASE + index * USER_SPACING, sizeBytes };
}

export const REGIONS: readonly RegionPlace[] = [
  region(0, 0x4000_0000, 0x10_0000),
  region(1, 0x4010_0000, 0x4_0000),
  region(2, 0x1_0000_0000, 0x4_0000),
];

/** Byte of memory that is not in use. */
export const POISON = 0xff;

/** Rings that have a place, and the largest of them. */
export const QUEUES = 4;
export const MAX_QUEUE_SIZE = 1024;
const QUEUE_BYTES = 0x8000;

/** A ring's parts, as offsets in the first region; what is between them is its parts' too. */
export interface RingPlace {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly end: number;
}

export function ringPlace(queue: number): RingPlace {
  const start = queue * QUEUE_BYTES;
  return {
    descriptors: start,
    available: start + 0x4000,
    used: start + 0x5000,
    end: start + QUEUE_BYTES,
  };
}

/** Where parts of rings begin, in the first region. */
export const RING_PARTS: readonly number[] = Array.from({ length: QUEUES }, (_, queue) => {
  const { descriptors, available, used } = ringPlace(queue);
  return [descriptors, available, used];
}).flat();

/** Where slots begin, in the first region. */
export const SLOTS_AT: number = QUEUES * QUEUE_BYTES;
export const SLOT_BYTES = 4096;
export const SLOT = { table: 0, header: 0x7c0, status: 0x7f0, data: 0x800 } as const;

/** Sectors of the disk, and those that cases may write: from `WINDOW_START` to the end. */
export const DISK_SECTORS = 0x8000;
export const WINDOW_START = 0x4000;
export const DISK_BYTES: number = DISK_SECTORS * SECTOR_BYTES;
