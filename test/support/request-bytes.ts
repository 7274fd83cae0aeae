/** Bytes that requests are made of, and bytes to tell apart. */
import { RANGE_BYTES } from '../../src/virtio-blk/index.ts';

/** A segment of DISCARD or WRITE_ZEROES. */
export interface SectorRange {
  readonly sector: number | bigint;
  readonly sectors: number;
  readonly flags?: number;
}

/** The payload of DISCARD and WRITE_ZEROES. */
export function rangesPayload(...ranges: readonly SectorRange[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(ranges.length * RANGE_BYTES));
  ranges.forEach(({ sector, sectors, flags = 0 }, index) => {
    view.setBigUint64(index * RANGE_BYTES, BigInt(sector), true);
    view.setUint32(index * RANGE_BYTES + 8, sectors, true);
    view.setUint32(index * RANGE_BYTES + 12, flags, true);
  });
  return new Uint8Array(view.buffer);
}

/** Bytes that differ from place to place and from seed to seed, and are never 0. */
export function patternBytes(lengthBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let at = 0; at < lengthBytes; at++) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = ((state >>> 0) % 255) + 1;
  }
  return bytes;
}

/** Fails with the first place that differs: a full comparison of long arrays is unreadable. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} bytes instead of ${expected.length}`);
  }
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  throw new Error(`${what}: byte ${at} is ${actual[at]} instead of ${expected[at]}`);
}
