/**
 * The requests of a block queue, by slot number: what the device has to remember of each until it
 * is answered, next to what the disk is asked to do.
 */
import { DiskRequests } from '../storage/index.ts';
import { Limit } from './constants.ts';

/** See the module's comment. */
export class BlockRequests implements Disposable {
  readonly slots: number;
  readonly disk: DiskRequests;
  /** What the ring knows the descriptor chain by (`DescriptorChain.token`). */
  readonly token: Uint32Array;
  /** `RequestType`. */
  readonly type: Uint8Array;
  /** Guest address of the status byte, in halves. */
  readonly statusLow: Int32Array;
  readonly statusHigh: Int32Array;
  /** Ranges of DISCARD and WRITE_ZEROES, `Limit.RANGES` a slot: first sector, number, flags. */
  readonly rangeSector: Float64Array;
  readonly rangeSectors: Uint32Array;
  readonly rangeFlags: Uint8Array;
  readonly rangeCount: Uint8Array;
  /** The range being worked on. */
  readonly rangeIndex: Uint8Array;
  readonly #free: Uint16Array;
  #freeCount: number;

  constructor(slots: number) {
    this.slots = slots;
    this.disk = new DiskRequests(slots);
    this.token = new Uint32Array(slots);
    this.type = new Uint8Array(slots);
    this.statusLow = new Int32Array(slots);
    this.statusHigh = new Int32Array(slots);
    this.rangeSector = new Float64Array(slots * Limit.RANGES);
    this.rangeSectors = new Uint32Array(slots * Limit.RANGES);
    this.rangeFlags = new Uint8Array(slots * Limit.RANGES);
    this.rangeCount = new Uint8Array(slots);
    this.rangeIndex = new Uint8Array(slots);
    // Taken from the end: the lowest numbers are used most, and their memory stays warm.
    this.#free = Uint16Array.from({ length: slots }, (_, index) => slots - 1 - index);
    this.#freeCount = slots;
  }

  /** Slots not in use. */
  get freeCount(): number {
    return this.#freeCount;
  }

  /** Take a slot; only while `freeCount` is not 0. */
  take(): number {
    this.#freeCount -= 1;
    return this.#free[this.#freeCount];
  }

  /** Put a slot back. */
  release(slot: number): void {
    this.#free[this.#freeCount] = slot;
    this.#freeCount += 1;
  }

  [Symbol.dispose](): void {
    this.disk[Symbol.dispose]();
  }
}
