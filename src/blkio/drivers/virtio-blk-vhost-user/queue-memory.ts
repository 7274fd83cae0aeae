/**
 * Memory of one queue, shared with the back-end: the ring, indirect tables, and for each slot what a
 * request has beside its data. It is a part of a region: all queues are in one, because back-ends
 * take few.
 */
import { createEventFd, duplicateFd, Fd } from '../../../sys/index.ts';
import type { RingPlan } from '../../../vhost-user/index.ts';
import { HEADER_BYTES, RANGE_BYTES } from '../../../virtio-blk/index.ts';
import {
  DESCRIPTOR_BYTES,
  firstBase,
  RING_IDX,
  type RingFormat,
  type RingMemory,
  ringBytes,
} from '../../../virtqueue/index.ts';
import { MemoryRegion, type MemoryRegionHandle } from '../../memory-region.ts';

const PAGE_BYTES = 4096;
/** Descriptors of an indirect table: header, data, status. Longer chains go without. */
export const ENTRIES_PER_TABLE = 16;
/** Where things are in a slot's area. */
export const SlotOffset = { HEADER: 0, RANGE: HEADER_BYTES, STATUS: HEADER_BYTES + RANGE_BYTES };
/** Bytes of a slot's area: a cache line of its own. */
export const SLOT_BYTES = 64;

/** Event counters of a queue: signalled by us, by the back-end, and by it when the ring is broken. */
export class QueueEvents implements Disposable {
  readonly kick: Fd;
  readonly call: Fd;
  readonly err: Fd;

  private constructor(kick: Fd, call: Fd, err: Fd) {
    this.kick = kick;
    this.call = call;
    this.err = err;
  }

  /** Non-blocking: a back-end that fills a counter must not stop whoever signals it. */
  static create(): QueueEvents {
    return new QueueEvents(createEventFd(), createEventFd(), createEventFd());
  }

  /** Descriptors for another thread, which adopts them. */
  share(): QueueEventsHandle {
    const share = (fd: Fd): number => duplicateFd(fd.number, fd.what).release();
    return { kick: share(this.kick), call: share(this.call), err: share(this.err) };
  }

  static adopt({ kick, call, err }: QueueEventsHandle): QueueEvents {
    const adopt = (fd: number): Fd => new Fd(fd, 'eventfd');
    return new QueueEvents(adopt(kick), adopt(call), adopt(err));
  }

  [Symbol.dispose](): void {
    for (const fd of [this.kick, this.call, this.err]) fd.close();
  }
}

/** Descriptors of `QueueEvents`, the adopter's own. */
export interface QueueEventsHandle {
  readonly kick: number;
  readonly call: number;
  readonly err: number;
}

export interface QueueMemoryOptions {
  readonly index: number;
  /** Descriptors of the ring. */
  readonly size: number;
  readonly format: RingFormat;
  /** Where the memory is: `queueBytes(size, format)` from `offsetBytes` on. */
  readonly region: MemoryRegion;
  readonly offsetBytes: number;
  /** Taken over. */
  readonly events: QueueEvents;
}

/** Ring, indirect tables, slots. */
function partSizes(size: number, format: RingFormat): number[] {
  const { descriptors, available, used } = ringBytes(size, format);
  const tables = size * ENTRIES_PER_TABLE * DESCRIPTOR_BYTES;
  return [descriptors, available, used, tables, size * SLOT_BYTES];
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Memory that a queue with so many descriptors takes. */
export function queueBytes(size: number, format: RingFormat): number {
  return partSizes(size, format).reduce((sum, part) => sum + wholePages(part), 0);
}

/** See the module's comment. */
export class QueueMemory implements Disposable {
  readonly ring: RingMemory;
  readonly tables: DataView;
  readonly tablesAddress: number;
  readonly slots: DataView;
  readonly slotsAddress: number;
  readonly events: QueueEvents;
  readonly #options: QueueMemoryOptions;
  readonly #addresses: {
    readonly descriptor: number;
    readonly available: number;
    readonly used: number;
  };

  constructor(options: QueueMemoryOptions) {
    const { size, format, region, offsetBytes, events } = options;
    this.#options = options;
    this.events = events;
    const { address } = region;
    const sizes = partSizes(size, format);
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
  }

  /** What the back-end has to know to run the ring. */
  get plan(): RingPlan {
    const { kick, call, err } = this.events;
    const { index, size, format } = this.#options;
    // Of a split ring that goes on, the back-end knows better what has been taken.
    const usedIdx = new Uint16Array(this.ring.used)[RING_IDX];
    const base = format === 'split' ? usedIdx : firstBase(format);
    return { index, size, ...this.#addresses, kick, call, err, base };
  }

  get format(): RingFormat {
    return this.#options.format;
  }

  /** For another thread, which has the ring to itself. */
  share(): QueueMemoryHandle {
    const { region, events, ...rest } = this.#options;
    return { ...rest, region: region.share(), events: events.share() };
  }

  /** An empty ring again, for a back-end that starts anew. */
  clear(): void {
    for (const part of [this.ring.descriptors, this.ring.available, this.ring.used]) {
      new Uint8Array(part).fill(0);
    }
  }

  [Symbol.dispose](): void {
    this.events[Symbol.dispose]();
  }
}

/** A queue's memory for another thread: good for one `AdoptedQueueMemory`. */
export interface QueueMemoryHandle {
  readonly index: number;
  readonly size: number;
  readonly format: RingFormat;
  readonly region: MemoryRegionHandle;
  readonly offsetBytes: number;
  readonly events: QueueEventsHandle;
}

/** In the other thread. */
export class AdoptedQueueMemory extends QueueMemory {
  readonly #region: MemoryRegion;

  constructor(handle: QueueMemoryHandle) {
    const region = MemoryRegion.adopt(handle.region);
    super({ ...handle, region, events: QueueEvents.adopt(handle.events) });
    this.#region = region;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#region[Symbol.dispose]();
  }
}
