/**
 * The guest's memory as this process sees it.
 *
 * A front-end shares its guest's memory as regions of files (vhost-user SET_MEM_TABLE, ADD_MEM_REG).
 * Three address spaces meet: the *guest* address in descriptors, the front-end's *user* address in
 * which it names its rings, and the *host* address where the region is mapped here. A `GuestMemory`
 * is one set of regions and never changes; a new table makes a new one.
 *
 * Everything the guest says is checked here: an address that is handed to the kernel, or read, has
 * come out of `locate`, `access` or `viewUser`.
 */
import { MAX_VIEW_BYTES, type Mapping } from '../sys/index.ts';

/** One region, mapped. The mapping starts at the region's first byte and has its size. */
export interface MemoryRegion {
  /** Guest physical address of the first byte. */
  readonly guestAddress: number;
  /** Address of the first byte in the front-end's process. */
  readonly userAddress: number;
  readonly sizeBytes: number;
  readonly mapping: Mapping;
}

/** The region that has all of some memory, which the front-end names by its own address. */
export function regionOfUser(
  regions: readonly MemoryRegion[],
  userAddress: number,
  lengthBytes: number,
): MemoryRegion | undefined {
  return regions.find((region) => {
    const offset = userAddress - region.userAddress;
    return offset >= 0 && offset + lengthBytes <= region.sizeBytes;
  });
}

/** See the module's comment. Used by one thread. */
export class GuestMemory {
  readonly regions: readonly MemoryRegion[];
  /** Host address found by the last successful `locate`, in halves: a u64 of two 32-bit words. */
  hostLow = 0;
  hostHigh = 0;
  /** Guest address found by the last successful `locateHost`, in halves. */
  guestLow = 0;
  guestHigh = 0;
  /** Where in the view returned by the last successful `access` the bytes are. */
  viewOffset = 0;
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  /** Host address minus guest address. */
  readonly #deltas: Float64Array;
  readonly #views: (DataView | undefined)[][];
  #lastHit = 0;

  /** @param regions - not overlapping, in any order. */
  constructor(regions: readonly MemoryRegion[]) {
    this.regions = [...regions].sort((a, b) => a.guestAddress - b.guestAddress);
    const of = (value: (region: MemoryRegion) => number): Float64Array =>
      Float64Array.from(this.regions, value);
    this.#starts = of((region) => region.guestAddress);
    this.#ends = of((region) => region.guestAddress + region.sizeBytes);
    this.#deltas = of((region) => region.mapping.address - region.guestAddress);
    this.#views = this.regions.map(() => []);
  }

  /**
   * Find the host address of guest memory: sets `hostLow` and `hostHigh`.
   *
   * @param addressLow, addressHigh - the guest address in halves, as the guest wrote it.
   * @param lengthBytes - how much is wanted, more than 0.
   * @returns how many of the bytes lie together from there on, at most `lengthBytes`; 0 if the
   * address is in no region. Less than wanted: the rest is in the next region, or nowhere.
   */
  locate(addressLow: number, addressHigh: number, lengthBytes: number): number {
    const address = (addressHigh >>> 0) * 2 ** 32 + (addressLow >>> 0);
    const index = this.#find(addressLow, addressHigh);
    if (index < 0) return 0;
    const host = address + this.#deltas[index];
    this.hostLow = host | 0;
    this.hostHigh = (host / 2 ** 32) | 0;
    const roomBytes = this.#ends[index] - address;
    return Math.min(roomBytes, lengthBytes);
  }

  /**
   * The way back: find the guest address of a host address that `locate` has found. Sets `guestLow`
   * and `guestHigh`. False if the address is in no region.
   */
  locateHost(hostLow: number, hostHigh: number): boolean {
    const host = (hostHigh >>> 0) * 2 ** 32 + (hostLow >>> 0);
    const { length } = this.#deltas;
    // From the last one found onwards: most memory is in one region.
    for (let step = 0, index = this.#lastHit; step < length; step++, index++) {
      if (index >= length) index = 0;
      const address = host - this.#deltas[index];
      if (address < this.#starts[index] || address >= this.#ends[index]) continue;
      this.guestLow = address | 0;
      this.guestHigh = (address / 2 ** 32) | 0;
      this.#lastHit = index;
      return true;
    }
    return false;
  }

  /**
   * A view through which `lengthBytes` of guest memory can be read and written; sets `viewOffset`.
   * `undefined` if they are not all in one region, and also, rarely, where two views meet (a
   * multiple of 1 GiB into the region): `copyFrom` and `copyTo` work there too.
   */
  access(addressLow: number, addressHigh: number, lengthBytes: number): DataView | undefined {
    const index = this.#find(addressLow, addressHigh);
    if (index < 0) return undefined;
    const address = (addressHigh >>> 0) * 2 ** 32 + (addressLow >>> 0);
    if (address + lengthBytes > this.#ends[index]) return undefined;
    const offset = address - this.#starts[index];
    const number = offset < MAX_VIEW_BYTES ? 0 : Math.floor(offset / MAX_VIEW_BYTES);
    const view = this.#views[index][number] ?? this.#createView(index, number);
    const viewOffset = offset - number * MAX_VIEW_BYTES;
    if (viewOffset + lengthBytes > MAX_VIEW_BYTES) return undefined;
    this.viewOffset = viewOffset;
    return view;
  }

  /** Copy guest memory out, across regions if need be. False if some of it is in no region. */
  copyFrom(addressLow: number, addressHigh: number, target: Uint8Array): boolean {
    return this.#copy(addressLow, addressHigh, target, false);
  }

  /** Copy into guest memory, across regions if need be. False if some of it is in no region. */
  copyTo(addressLow: number, addressHigh: number, source: Uint8Array): boolean {
    return this.#copy(addressLow, addressHigh, source, true);
  }

  #copy(addressLow: number, addressHigh: number, bytes: Uint8Array, isWrite: boolean): boolean {
    // Counted in halves: one number would round addresses beyond 2^53, or wrap around to 0.
    let low = addressLow;
    let high = addressHigh;
    for (let index = 0; index < bytes.length; index++) {
      const view = this.access(low, high, 1);
      if (view === undefined) return false;
      if (isWrite) view.setUint8(this.viewOffset, bytes[index]);
      else bytes[index] = view.getUint8(this.viewOffset);
      low = (low + 1) | 0;
      if (low === 0) high += 1;
    }
    return true;
  }

  /**
   * A buffer over memory that the front-end names by its own address: a ring. `undefined` unless
   * all of it is in one region.
   */
  viewUser(userAddress: number, lengthBytes: number): ArrayBuffer | undefined {
    const region = regionOfUser(this.regions, userAddress, lengthBytes);
    return region?.mapping.view(userAddress - region.userAddress, lengthBytes);
  }

  /** Where the guest has that memory; `undefined` as for `viewUser`. */
  guestAddressOfUser(userAddress: number, lengthBytes: number): number | undefined {
    const region = regionOfUser(this.regions, userAddress, lengthBytes);
    return region && region.guestAddress + (userAddress - region.userAddress);
  }

  /** Index of the region that holds an address, or -1. The last one found is tried first. */
  #find(addressLow: number, addressHigh: number): number {
    const address = (addressHigh >>> 0) * 2 ** 32 + (addressLow >>> 0);
    const starts = this.#starts;
    const ends = this.#ends;
    const last = this.#lastHit;
    if (last < starts.length && address >= starts[last] && address < ends[last]) return last;
    let low = 0;
    let high = starts.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (address < starts[middle]) high = middle - 1;
      else if (address >= ends[middle]) low = middle + 1;
      else {
        this.#lastHit = middle;
        return middle;
      }
    }
    return -1;
  }

  #createView(index: number, number: number): DataView {
    const region = this.regions[index];
    const start = number * MAX_VIEW_BYTES;
    const length = Math.min(MAX_VIEW_BYTES, region.sizeBytes - start);
    const view = new DataView(region.mapping.view(start, length));
    this.#views[index][number] = view;
    return view;
  }
}
