/** The way to a device for a queue in another thread: what drivers give, and how it is taken over. */
import type { DiskRequestHandler, DiskRequests } from '../storage/index.ts';
import type { Reactor } from '../sys/index.ts';
import type { QueueChannel } from './driver.ts';
import { adoptFileQueue, type FileQueueHandle } from './drivers/io-uring/shared-file-queue.ts';
import {
  AdoptedVhostUserQueue,
  type VhostUserQueueHandle,
} from './drivers/virtio-blk-vhost-user/adopted-queue.ts';
import type { Lease } from './lease.ts';

/** Plain data, and descriptors and memory for the adopter: good for one `adoptChannel`. */
export type ChannelHandle = FileQueueHandle | VhostUserQueueHandle;

/** A way to the device, as the other thread has it. */
export interface AdoptedChannel {
  /** The device's size now. */
  capacityBytes(): number;
  /** Once. */
  open(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): QueueChannel;
  /** Let everything go; the lease, which is taken, ends. The channel is closed, if it was opened. */
  close(): void;
}

/** Take a way to the device over. */
export function adoptChannel(handle: ChannelHandle, lease: Lease): AdoptedChannel {
  return handle.kind === 'io_uring'
    ? adoptFileQueue(handle, lease)
    : new AdoptedVhostUserQueue(handle, lease);
}
