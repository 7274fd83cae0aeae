/**
 * The regions that are mapped to one device, and whether a buffer lies in one of them: asked for
 * every request, by each thread that has a queue of the device.
 */
import { type MemoryRegion, placeOfBuffer } from './memory-region.ts';

/** Regions that other threads can know of; a device that reaches only mapped ones takes fewer. */
const MAX_SHARED = 1024;
/** Words of the table: a count of changes, then addresses of regions, 0 where there is none. */
const CHANGES = 0;
const FIRST_ADDRESS = 1;

/** See the module's comment: what a queue asks, in whichever thread. */
export class ReachableMemory {
  /** For other threads. */
  readonly shared: SharedArrayBuffer;
  protected readonly table: BigInt64Array;
  /** What `locate` has found: an address in halves, as a whole one would be boxed. */
  foundLow = 0;
  foundHigh = 0;
  readonly #changes: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.table = new BigInt64Array(shared);
    this.#changes = new Int32Array(shared, 0, 1);
  }

  /** Find a buffer's first byte. False: it lies in none of the regions. Allocates nothing. */
  locate(view: Uint8Array): boolean {
    const place = placeOfBuffer(view.buffer);
    if (place === undefined) return false;
    const change = Atomics.load(this.#changes, CHANGES);
    if (place.finder !== this || place.found !== change) {
      if (this.find(place.regionAddress) < 0) return false;
      place.finder = this;
      place.found = change;
    }
    const low = (place.addressLow >>> 0) + view.byteOffset;
    this.foundLow = low | 0;
    this.foundHigh = place.addressHigh + (low < 2 ** 32 ? 0 : 1);
    return true;
  }

  /** Word of the region at an address, or -1. */
  protected find(address: number): number {
    return this.table.indexOf(BigInt(address), FIRST_ADDRESS);
  }

  protected tellChange(): void {
    Atomics.add(this.#changes, CHANGES, 1);
  }
}

/**
 * The device's own list. A region is added for the driver to map, and shown to queues once that is
 * done: a request that comes earlier is still copied. All threads see it at their next request.
 */
export class MappedRegions extends ReachableMemory {
  readonly #regions = new Set<MemoryRegion>();

  constructor() {
    super(new SharedArrayBuffer((FIRST_ADDRESS + MAX_SHARED) * BigInt64Array.BYTES_PER_ELEMENT));
  }

  get size(): number {
    return this.#regions.size;
  }

  has(region: MemoryRegion): boolean {
    return this.#regions.has(region);
  }

  add(region: MemoryRegion): void {
    this.#regions.add(region);
  }

  /** The device reaches the region. */
  show(region: MemoryRegion): void {
    const free = this.find(0);
    if (free < 0) return;
    Atomics.store(this.table, free, BigInt(region.address));
    this.tellChange();
  }

  delete(region: MemoryRegion): void {
    if (!this.#regions.delete(region)) return;
    const at = this.find(region.address);
    if (at < 0) return;
    Atomics.store(this.table, at, 0n);
    this.tellChange();
  }

  [Symbol.iterator](): IterableIterator<MemoryRegion> {
    return this.#regions.values();
  }
}
