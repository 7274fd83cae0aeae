/**
 * Queues of a device that belongs to another thread, which must keep its event loop going: there a
 * back-end that has gone away is noticed, and connected to again.
 */
import { AttachedHome } from '../sys/index.ts';
import type { AsyncQueue } from './async-queue.ts';
import { BouncePool } from './bounce-pool.ts';
import { adoptChannel } from './channel-handle.ts';
import { BlkioError } from './errors.ts';
import { Lease } from './lease.ts';
import { ReachableMemory } from './mapped-regions.ts';
import { MemoryRegion } from './memory-region.ts';
import type { Queue } from './queue.ts';
import {
  createQueueReactor,
  openAsyncQueue,
  openBlockingQueue,
  type QueueOptions,
  type QueueSource,
} from './queue-source.ts';
import type { BounceHandle, QueueHandle } from './shared-queue.ts';

/**
 * A queue to use by `doIo` in this thread. Buffers in regions are reached without copying once this
 * thread has adopted the region (`MemoryRegion.adopt`) and the device has it mapped.
 *
 * @throws BlkioError EBUSY: the handle was used before, or its device is closed; ENOTSUP: a poll
 *   queue has no completion descriptor.
 */
export function adoptQueue(handle: QueueHandle, options: QueueOptions = {}): Queue {
  if (handle.isPolled && options.completionFd) {
    throw new BlkioError('ENOTSUP', 'a poll queue has no completion descriptor');
  }
  return openBlockingQueue(adoptSource(handle), options);
}

/** A queue whose requests are promises on this thread's event loop. Throws as `adoptQueue`. */
export function adoptAsyncQueue(handle: QueueHandle): AsyncQueue {
  if (handle.isPolled) throw new BlkioError('ENOTSUP', 'a poll queue is used by doIo');
  const source = adoptSource(handle);
  const reactor = createQueueReactor(source, 'attached');
  const home = new AttachedHome(reactor);
  return openAsyncQueue(source, {
    reactor,
    pump: () => home.pump(),
    onClose: () => {
      home.close();
      reactor[Symbol.dispose]();
    },
  });
}

function adoptSource(handle: QueueHandle): QueueSource {
  const { slots, isPolled, limits } = handle;
  const lease = new Lease(handle.lease);
  if (!lease.take()) {
    throw new BlkioError('EBUSY', 'the queue has been adopted before, or its device is closed');
  }
  const channel = adoptChannel(handle.channel, lease);
  const bounce = handle.bounce && new AdoptedBounce(handle.bounce);
  return {
    ...{ slots, isPolled, limits },
    regions: new ReachableMemory(handle.regions),
    bounce: bounce?.pool,
    capacityBytes: () => channel.capacityBytes(),
    openChannel: (reactor, requests, handler) => channel.open(reactor, requests, handler),
    release: () => {
      bounce?.[Symbol.dispose]();
      channel.close();
    },
  };
}

/** Memory to copy through, of the device's thread. */
class AdoptedBounce implements Disposable {
  readonly pool: BouncePool;
  readonly #region: MemoryRegion;

  constructor({ region, offsetBytes, sizeBytes }: BounceHandle) {
    this.#region = MemoryRegion.adopt(region);
    this.pool = new BouncePool(this.#region, offsetBytes, sizeBytes);
  }

  [Symbol.dispose](): void {
    this.#region[Symbol.dispose]();
  }
}
