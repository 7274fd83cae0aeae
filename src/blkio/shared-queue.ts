/** A queue of a device that another thread uses: what is handed to that thread, and what is kept. */
import { adoptChannel, type ChannelHandle } from './channel-handle.ts';
import type { DeviceLimits } from './driver.ts';
import { Lease } from './lease.ts';
import { MemoryRegion, type MemoryRegionHandle } from './memory-region.ts';

/** Memory to copy through: a part of a region. */
export interface BounceHandle {
  readonly region: MemoryRegionHandle;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/**
 * A queue for another thread. Plain data that can be posted: `adoptQueue` or `adoptAsyncQueue`
 * makes a queue of it, once.
 */
export interface QueueHandle {
  readonly slots: number;
  readonly isPolled: boolean;
  readonly limits: DeviceLimits;
  readonly channel: ChannelHandle;
  readonly bounce: BounceHandle | undefined;
  /** Of a `ReachableMemory` and a `Lease`. */
  readonly regions: SharedArrayBuffer;
  readonly lease: SharedArrayBuffer;
}

/** What the device keeps. */
export class SharedQueue {
  readonly handle: QueueHandle;
  readonly #lease: Lease;

  constructor(handle: QueueHandle) {
    this.handle = handle;
    this.#lease = new Lease(handle.lease);
  }

  /** The other thread has it. */
  get isHeld(): boolean {
    return this.#lease.isHeld;
  }

  /** Take back what nobody has taken. */
  close(): void {
    if (!this.#lease.take()) return;
    const { channel, bounce } = this.handle;
    if (bounce !== undefined) MemoryRegion.adopt(bounce.region)[Symbol.dispose]();
    adoptChannel(channel, this.#lease).close();
  }
}
