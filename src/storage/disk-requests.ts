/**
 * The requests of a queue, by slot number: a table of typed arrays, so that a request costs no
 * allocation. The device fills a slot, the disk does what it says.
 */
import { IovecTable } from '../sys/index.ts';

/** What a request asks for. */
export const DiskOperation = {
  READ: 0,
  WRITE: 1,
  FLUSH: 2,
  DISCARD: 3,
  WRITE_ZEROES: 4,
} as const;

/** Flags of a request. */
export const DiskFlag = {
  /** Writes: on stable storage before it completes. */
  STABLE: 1,
  /** WRITE_ZEROES: the space may be given back. */
  UNMAP: 2,
  /** WRITE_ZEROES: fail with EOPNOTSUPP rather than write zeros from memory. */
  NO_FALLBACK: 4,
} as const;

/** See the module's comment. */
export class DiskRequests implements Disposable {
  readonly slots: number;
  /** Memory to read into or write from. The lists are used up by the disk. */
  readonly iovecs: IovecTable;
  readonly operation: Uint8Array;
  readonly flags: Uint8Array;
  /** Byte offset in the disk, in halves. */
  readonly offsetLow: Int32Array;
  readonly offsetHigh: Int32Array;
  /** READ, WRITE: the sum of the list; DISCARD, WRITE_ZEROES: the range; FLUSH: 0. */
  readonly lengthBytes: Float64Array;

  constructor(slots: number) {
    this.slots = slots;
    this.iovecs = new IovecTable(slots);
    this.operation = new Uint8Array(slots);
    this.flags = new Uint8Array(slots);
    this.offsetLow = new Int32Array(slots);
    this.offsetHigh = new Int32Array(slots);
    this.lengthBytes = new Float64Array(slots);
  }

  /** The byte offset as one number. */
  offsetBytes(slot: number): number {
    return (this.offsetHigh[slot] >>> 0) * 2 ** 32 + (this.offsetLow[slot] >>> 0);
  }

  [Symbol.dispose](): void {
    this.iovecs[Symbol.dispose]();
  }
}
