/** Values that cases are made of: those that code has to be careful with. */
import {
  DISK_SECTORS,
  REGIONS,
  RING_PARTS,
  SLOT,
  SLOT_BYTES,
  SLOTS_AT,
  WINDOW_START,
} from './geometry.ts';
import { addressText } from './numbers.ts';
import type { Random } from './random.ts';

/** Near the bounds of 8, 15, 16, 31, 32, 53, 63 and 64 bits, and small ones. */
const BOUNDS: readonly bigint[] = [7n, 8n, 15n, 16n, 31n, 32n, 52n, 53n, 63n, 64n].flatMap(
  (bits) => [2n ** bits - 1n, BigInt.asUintN(64, 2n ** bits), BigInt.asUintN(64, 2n ** bits + 1n)],
);
const SMALL = [0n, 1n, 2n, 3n, 4n, 5n, 7n, 8n, 9n, 16n, 17n, 64n, 512n, 1000n, 4096n];

/** Any number of 64 bits, preferably an awkward one. */
export function awkwardNumber(random: Random): bigint {
  return random.weighted<() => bigint>([
    [5, () => random.pick(SMALL)],
    [4, () => random.pick(BOUNDS)],
    [2, () => BigInt(random.below(65536))],
    [1, () => random.u64()],
  ])();
}

/** Lengths of descriptors. None of them ends at the second byte of a header's sector. */
const LENGTHS = [
  ...[0, 1, 2, 8, 15, 16, 17, 20, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 65535, 65536],
  ...[2 ** 18, 2 ** 20, 2 ** 20 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 512, 2 ** 32 - 1],
];

export function descriptorLength(random: Random): number {
  return random.pick(LENGTHS);
}

/** Bits of a descriptor's flags: those that have a meaning in one of the formats, or none. */
export function descriptorFlags(random: Random): number {
  return random.weighted<() => number>([
    [6, () => random.below(8)],
    [3, () => random.below(8) | random.pick([0, 0x80, 0x8000, 0x8080])],
    [1, () => random.below(65536)],
  ])();
}

/** A sector for a request that may write: in the window, at its edges, or beyond the end. */
export function windowSector(random: Random): bigint {
  return random.weighted<() => bigint>([
    [8, () => BigInt(random.between(WINDOW_START, DISK_SECTORS - 256))],
    [
      2,
      () => BigInt(random.pick([DISK_SECTORS - 1, DISK_SECTORS, DISK_SECTORS - 8, WINDOW_START])),
    ],
    [
      1,
      () =>
        random.pick([2n ** 32n + 0x4000n, 2n ** 55n, 2n ** 55n - 1n, 2n ** 63n, 2n ** 64n - 1n]),
    ],
  ])();
}

/** Any sector. */
export function anySector(random: Random): bigint {
  return random.chance(30) ? BigInt(random.below(DISK_SECTORS)) : windowSector(random);
}

/** An address for a descriptor: memory without rings, its edges, and where there is none. */
export function dataAddress(random: Random): string {
  const region = random.below(REGIONS.length);
  const { sizeBytes } = REGIONS[region];
  const slots = (sizeBytes - SLOTS_AT) / SLOT_BYTES;
  const slot = SLOTS_AT + random.below(Math.max(1, slots)) * SLOT_BYTES;
  return random.weighted<() => string>([
    [
      4,
      () =>
        addressText('guest', 0, (slot % REGIONS[0].sizeBytes) + random.pick(Object.values(SLOT))),
    ],
    [2, () => addressText('guest', region, sizeBytes - random.pick([1, 16, 511, 512, 4096]))],
    [1, () => addressText('guest', region, sizeBytes)],
    [1, () => random.pick(['guest0-512', 'guest1-512', 'guest2-1', '0x5000000000', '-1', '-4096'])],
    [1, () => random.pick(['0x8000000000000000', '0xffffffff', '0xfffffffffffff000', '4096'])],
  ])();
}

/** Any address for a descriptor: rings, too, and tables that lead to themselves. */
export function anyAddress(random: Random): string {
  if (random.chance(60)) return dataAddress(random);
  return addressText('guest', 0, random.below(SLOTS_AT));
}

/** A user address for a part of a ring: where parts are, though not always this one. */
export function ringAddress(random: Random): string {
  return random.weighted<() => string>([
    [4, () => addressText('user', 0, random.pick(RING_PARTS))],
    [2, () => addressText('user', 0, random.pick(RING_PARTS) + random.pick([1, 2, 4, 8, 15, 16]))],
    [1, () => random.pick(['user0-16', 'user1-4', '0', '-16', '0x7fffffffffff0', 'guest0'])],
  ])();
}
