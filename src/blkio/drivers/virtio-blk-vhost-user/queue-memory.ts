/**
 * Memory of one queue, shared with the back-end: the ring, indirect tables, and for each slot what a
 * request has beside its data. It is a part of a region: all queues are in one, because back-ends
 * take few.
 */
import { createEventFd, type Fd } from '../../../sys/index.ts';
import type { RingPlan } from '../../../vhost-user/index.ts';
import { HEADER_BYTES, RANGE_BYTES } from '../../../virtio-blk/index.ts';
import { DESCRIPTOR_BYTES, ringBytes, type SplitRingMemory } from '../../../virtqueue/index.ts';
import type { MemoryRegion } from '../../memory-region.ts';

const PAGE_BYTES = 4096;
/** Descriptors of an indirect table: header, data, status. Longer chains go without. */
export const ENTRIES_PER_TABLE = 16;
/** Where things are in a slot's area. */
export const SlotOffset = { HEADER: 0, RANGE: HEADER_BYTES, STATUS: HEADER_BYTES + RANGE_BYTES };
/** Bytes of a slot's area: a cache line of its own. */
export const SLOT_BYTES = 64;

export interface QueueMemoryOptions {
  readonly index: number;
  /** Descriptors of the ring. */
  readonly size: number;
  /** Where the memory is: `queueBytes(size)` from `offsetBytes` on. */
  readonly region: MemoryRegion;
  readonly offsetBytes: number;
}

/** Ring, indirect tables, slots. */
function partSizes(size: number): number[] {
  const { descriptors, available, used } = ringBytes(size);
  const tables = size * ENTRIES_PER_TABLE * DESCRIPTOR_BYTES;
  return [descriptors, available, used, tables, size * SLOT_BYTES];
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Memory that a queue with so many descriptors takes. */
export function queueBytes(size: number): number {
  return partSizes(size).reduce((sum, part) => sum + wholePages(part), 0);
}

/** See the module's comment. */
export class QueueMemory implements Disposable {
  readonly ring: SplitRingMemory;
  readonly tables: DataView;
  readonly tablesAddress: number;
  readonly slots: DataView;
  readonly slotsAddress: number;
  /** Signalled by us, by the back-end, and by it when the ring is broken. */
  readonly kick: Fd;
  readonly call: Fd;
  readonly err: Fd;
  readonly #index: number;
  readonly #addresses: {
    readonly descriptor: number;
    readonly available: number;
    readonly used: number;
  };

  constructor(options: QueueMemoryOptions) {
    const { index, size, region, offsetBytes } = options;
    this.#index = index;
    const { address } = region;
    const sizes = partSizes(size);
    const offsets: number[] = [];
    let end = offsetBytes;
    for (const part of sizes) {
      offsets.push(end);
      end += wholePages(part);
    }
    const [descriptors, available, used, tables, slots] = offsets.map((offset, part) =>
      region.view(offset, sizes[part]),
    );
    this.ring = {
      size,
      descriptors: descriptors.buffer as ArrayBuffer,
      available: available.buffer as ArrayBuffer,
      used: used.buffer as ArrayBuffer,
    };
    this.#addresses = {
      descriptor: address + offsets[0],
      available: address + offsets[1],
      used: address + offsets[2],
    };
    this.tables = new DataView(tables.buffer);
    this.tablesAddress = address + offsets[3];
    this.slots = new DataView(slots.buffer);
    this.slotsAddress = address + offsets[4];
    // Non-blocking: a back-end that fills a counter must not stop whoever signals it.
    this.kick = createEventFd();
    this.call = createEventFd();
    this.err = createEventFd();
  }

  /** What the back-end has to know to run the ring from its start. */
  get plan(): RingPlan {
    const { kick, call, err } = this;
    const index = this.#index;
    return { index, size: this.ring.size, ...this.#addresses, kick, call, err, base: 0 };
  }

  /** An empty ring again, for a back-end that starts anew. */
  clear(): void {
    for (const part of [this.ring.descriptors, this.ring.available, this.ring.used]) {
      new Uint8Array(part).fill(0);
    }
  }

  [Symbol.dispose](): void {
    this.kick.close();
    this.call.close();
    this.err.close();
  }
}
