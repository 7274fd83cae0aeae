/**
 * Memory for encrypted data on its way: lanes, each with room for a piece of a request, and a
 * request of the disk below. The memory is bounded: a piece that finds no free lane waits.
 */
import { Mapping } from '../../sys/index.ts';
import { DiskRequests } from '../disk-requests.ts';

/** Most bytes of a piece; at least the largest logical block there is. */
export const LANE_BYTES = 65536;
/** Lanes: 8 MiB, of which what no piece has used is not there. */
export const LANES = 128;
/** `take`: none is free. */
export const NO_LANE = -1;

/** See the module's comment. */
export class BounceLanes implements Disposable {
  /** Requests of the disk below, by lane. */
  readonly below: DiskRequests = new DiskRequests(LANES);
  readonly #mapping = Mapping.anonymous(LANES * LANE_BYTES);
  readonly #bytes: Uint8Array;
  readonly #free = new Uint16Array(LANES);
  #freeCount = LANES;

  constructor() {
    this.#bytes = new Uint8Array(this.#mapping.view(0, LANES * LANE_BYTES));
    for (let index = 0; index < LANES; index++) this.#free[index] = LANES - 1 - index;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** A free lane, the one that was used last: its memory is in the processor's cache. */
  take(): number {
    if (this.#freeCount === 0) return NO_LANE;
    this.#freeCount -= 1;
    return this.#free[this.#freeCount];
  }

  release(lane: number): void {
    this.#free[this.#freeCount] = lane;
    this.#freeCount += 1;
  }

  /** Where a lane's memory is. */
  address(lane: number): number {
    return this.#mapping.address + lane * LANE_BYTES;
  }

  /** Have a transfer of the disk below be about the first bytes of a lane's memory. */
  aim(lane: number, operation: number, flags: number, offset: number, bytes: number): void {
    const { below } = this;
    this.order(lane, operation, flags, offset, bytes);
    const address = this.address(lane);
    below.iovecs.push(lane, address | 0, (address / 2 ** 32) | 0, bytes);
  }

  /** Have a request of the disk below that needs no memory. */
  order(lane: number, operation: number, flags: number, offset: number, bytes: number): void {
    const { below } = this;
    below.operation[lane] = operation;
    below.flags[lane] = flags;
    below.offsetLow[lane] = offset | 0;
    below.offsetHigh[lane] = (offset / 2 ** 32) | 0;
    below.lengthBytes[lane] = bytes;
    below.iovecs.clear(lane);
  }

  /** Fill a part of a lane's memory with zeros. */
  zero(lane: number, at: number, bytes: number): void {
    const start = lane * LANE_BYTES + at;
    this.#bytes.fill(0, start, start + bytes);
  }

  [Symbol.dispose](): void {
    this.below[Symbol.dispose]();
    this.#mapping.close();
  }
}
