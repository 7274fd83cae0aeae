/**
 * What a driver is: a way to a device, behind one interface. A driver brings properties of its own,
 * connects, says what the device can do, and opens queues. Everything that drivers have in common
 * (states, properties, checks of requests, completions) is above this line.
 */
import type { DiskChannel, DiskRequestHandler, DiskRequests } from '../storage/index.ts';
import type { Reactor } from '../sys/index.ts';
import type { ChannelHandle } from './channel-handle.ts';
import type { BlkioError } from './errors.ts';
import type { Lease } from './lease.ts';
import type { MappedRegions } from './mapped-regions.ts';
import type { MemoryRegion } from './memory-region.ts';
import type { Property } from './property-table.ts';

/** What a connected device can do. Sizes in bytes; 0: no limit, unless it says otherwise. */
export interface DeviceLimits {
  readonly readOnly: boolean;
  readonly maxQueues: number;
  readonly supportsPollQueues: boolean;
  readonly needsMemRegions: boolean;
  readonly needsMemRegionFd: boolean;
  readonly mayPinMemRegions: boolean;
  readonly memRegionAlignment: number;
  /** Beside the one for buffers that are copied, and the driver's own. */
  readonly maxMemRegions: bigint;
  readonly bufAlignment: number;
  readonly optimalBufAlignment: number;
  /** Offsets and lengths of requests are multiples of it. */
  readonly requestAlignment: number;
  readonly optimalIoAlignment: number;
  readonly optimalIoSize: number;
  readonly maxSegments: number;
  readonly maxSegmentLen: number;
  readonly maxTransfer: number;
  readonly maxWriteZeroesLen: number;
  readonly maxDiscardLen: number;
  readonly discardAlignment: number;
  readonly discardAlignmentOffset: number;
  readonly canDiscard: boolean;
  readonly canWriteZeroes: boolean;
  readonly supportsFuaNatively: boolean;
  readonly flushNeeded: boolean;
  /** A write behind the end makes the device larger. */
  readonly canGrow: boolean;
}

/** A queue to open. */
export interface QueuePlan {
  readonly index: number;
  /** Completions are looked for, never waited for. */
  readonly isPolled: boolean;
  /** On which the queue's completions arrive. */
  readonly reactor: Reactor;
  /** The slots' requests; lists hold addresses of this process. */
  readonly requests: DiskRequests;
  readonly handler: DiskRequestHandler;
}

/** A queue to share with another thread. */
export interface SharePlan {
  readonly index: number;
  readonly isPolled: boolean;
  /** Tells whether the other thread uses it. */
  readonly lease: Lease;
}

/** A queue's way to the device. `start` may leave a request to the next `flush`. */
export interface QueueChannel extends DiskChannel {
  /** Nothing gets done before the event loop of the device's thread has had its turn. */
  readonly needsEventLoop: boolean;
  /** Show the device what has been started. */
  flush(): void;
}

/** What a driver tells of the device while it is started. */
export interface DriverEvents {
  /** The device has another size, or other limits. */
  onConfigChange(): void;
  /** The device cannot be reached any more, for now or for ever. Once, until `onReconnect`. */
  onDisconnect(reason: BlkioError): void;
  /** It can be reached again. */
  onReconnect(attempts: number): void;
}

/** For nobody. */
export const silentEvents: DriverEvents = {
  onConfigChange: () => {},
  onDisconnect: () => {},
  onReconnect: () => {},
};

/** See the module's comment. */
export interface Driver {
  readonly name: string;
  /** Queues can come and go while the device is started. */
  readonly canAddQueues: boolean;
  /** Slots of each queue: how many requests it has under way at most. Known once connected. */
  readonly slotsPerQueue: number;
  events: DriverEvents;
  /** The driver's own properties, beside the common ones. */
  properties(): readonly Property[];
  /** Reach the device. Rejects with a `BlkioError`; may be called again then. */
  connect(options: ConnectOptions): Promise<void>;
  /** The device's size now. Connected. */
  capacityBytes(): number;
  /** Connected. */
  limits(): DeviceLimits;
  /** Get ready for as many queues. Connected; not any more if it rejects with a `BlkioError`. */
  start(counts: { readonly queues: number; readonly pollQueues: number }): Promise<void>;
  /** Started. */
  openQueue(plan: QueuePlan): QueueChannel;
  /** Started. The driver need not outlive the use of what it gives, nor the other thread it. */
  shareQueue(plan: SharePlan): ChannelHandle;
  /** The device is to reach a region, or not any more. Started; at first those of `ConnectOptions`. */
  mapRegion(region: MemoryRegion): Promise<void>;
  unmapRegion(region: MemoryRegion): Promise<void>;
  /** Channels are closed. */
  close(): void;
}

export interface ConnectOptions {
  readonly readOnly: boolean;
  /** Those mapped to the device: the driver reads it when it starts. */
  readonly regions: MappedRegions;
}
