/** Block requests as bytes in guest memory, and chains that lead to them in any layout. */
import type { GuestRam } from '../../src/testing/index.ts';
import { HEADER_BYTES, RANGE_BYTES } from '../../src/virtio-blk/index.ts';
import type { DriverRing } from '../../src/virtqueue/index.ts';

/** A piece of guest memory that a descriptor names. */
export interface ChainPiece {
  readonly address: number;
  readonly length: number;
  readonly isWritable: boolean;
}

/** The 16 bytes at the front of a request. */
export function headerBytes(type: number, sector: number | bigint = 0): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, 0xdead_beef, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

/** A range of DISCARD or WRITE_ZEROES. */
export interface RangeFields {
  readonly sector: number | bigint;
  readonly sectors: number;
  readonly flags?: number;
}

/** The payload of DISCARD or WRITE_ZEROES. */
export function rangeBytes(ranges: readonly RangeFields[]): Uint8Array {
  const bytes = new Uint8Array(ranges.length * RANGE_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, { sector, sectors, flags = 0 }] of ranges.entries()) {
    const at = index * RANGE_BYTES;
    view.setBigUint64(at, BigInt(sector), true);
    view.setUint32(at + 8, sectors, true);
    view.setUint32(at + 12, flags, true);
  }
  return bytes;
}

/** Bytes one after the other. */
export function joinBytes(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Guest memory that is handed out piece by piece, for one request after the other. */
export class PieceAllocator {
  readonly #ram: GuestRam;
  readonly #used: number[];

  constructor(ram: GuestRam) {
    this.#ram = ram;
    this.#used = ram.regions.map(() => 0);
  }

  /** Take `length` bytes of a region, after a gap. */
  take(length: number, regionIndex: number, gap = 0): { address: number; bytes: Uint8Array } {
    const offset = this.#used[regionIndex] + gap;
    this.#used[regionIndex] = offset + length;
    if (length === 0) {
      const address = this.#ram.regions[regionIndex].guestAddress + offset;
      return { address, bytes: new Uint8Array(0) };
    }
    const { guestAddress, bytes } = this.#ram.at(regionIndex, offset, length);
    return { address: guestAddress, bytes };
  }
}

/** Put a chain on a ring. Returns its head. */
export function pushChain(ring: DriverRing, pieces: readonly ChainPiece[]): number {
  if (!ring.begin(pieces.length)) throw new Error('the ring is full');
  for (const { address, length, isWritable } of pieces) {
    ring.add(address | 0, (address / 2 ** 32) | 0, length, isWritable);
  }
  return ring.commit();
}
