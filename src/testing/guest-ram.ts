/**
 * Memory of a guest that does not exist: regions in memory files, as a front-end shares them, and
 * an allocator for rings and buffers.
 */
import { createMemfd, type Fd, Mapping } from '../sys/index.ts';

/** One region to make. */
export interface RamRegionPlan {
  readonly guestAddress: number;
  readonly sizeBytes: number;
}

/** A region: where the back-end will see it, and where it is here. */
export interface RamRegion extends RamRegionPlan {
  /** The front-end's address of it, as the protocol wants to know; any unique number does. */
  readonly userAddress: number;
  readonly fd: Fd;
  readonly mapping: Mapping;
}

/** A piece of guest memory. */
export interface GuestBuffer {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly bytes: Uint8Array;
}

/** Far from guest addresses, so that mixing the two up shows. */
const USER_BASE = 0x7000_0000_0000;
const USER_SPACING = 2 ** 40;
const DEFAULT_PLAN: readonly RamRegionPlan[] = [
  { guestAddress: 0x1_0000_0000, sizeBytes: 64 * 1024 * 1024 },
];

/** See the module's comment. */
export class GuestRam implements Disposable {
  readonly regions: readonly RamRegion[];
  readonly #used: number[];

  constructor(plan: readonly RamRegionPlan[] = DEFAULT_PLAN) {
    this.regions = plan.map((region, index) => {
      const fd = createMemfd('guest-ram', region.sizeBytes);
      const mapping = Mapping.ofFile(fd.number, 0, region.sizeBytes);
      return { ...region, userAddress: USER_BASE + index * USER_SPACING, fd, mapping };
    });
    this.#used = this.regions.map(() => 0);
  }

  /** Take memory that is never given back. Throws when the region is full. */
  allocate(sizeBytes: number, alignment = 16, regionIndex = 0): GuestBuffer {
    const region = this.regions[regionIndex];
    const offset = Math.ceil(this.#used[regionIndex] / alignment) * alignment;
    if (offset + sizeBytes > region.sizeBytes) throw new Error('guest memory is used up');
    this.#used[regionIndex] = offset + sizeBytes;
    return this.at(regionIndex, offset, sizeBytes);
  }

  /** A piece of a region by its offset. */
  at(regionIndex: number, offset: number, sizeBytes: number): GuestBuffer {
    const region = this.regions[regionIndex];
    return {
      guestAddress: region.guestAddress + offset,
      userAddress: region.userAddress + offset,
      bytes: new Uint8Array(region.mapping.view(offset, sizeBytes)),
    };
  }

  [Symbol.dispose](): void {
    for (const region of this.regions) {
      region.mapping.close();
      region.fd[Symbol.dispose]();
    }
  }
}
