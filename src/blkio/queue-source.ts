/** What a queue is made of, in the device's own thread or in another, and how it is made. */
import type { DiskRequestHandler, DiskRequests } from '../storage/index.ts';
import type { HomeKind, Reactor } from '../sys/index.ts';
import { AsyncQueue } from './async-queue.ts';
import type { BouncePool } from './bounce-pool.ts';
import { CompletionFd } from './completion-fd.ts';
import { asShortage, createDeviceReactor } from './device-reactor.ts';
import type { DeviceLimits, QueueChannel } from './driver.ts';
import type { ReachableMemory } from './mapped-regions.ts';
import { Queue } from './queue.ts';
import { type CompletionListener, QueueCore } from './queue-core.ts';
import { RequestRules } from './request-rules.ts';

/** See the module's comment. For one queue. */
export interface QueueSource {
  readonly slots: number;
  readonly isPolled: boolean;
  readonly limits: DeviceLimits;
  readonly regions: ReachableMemory;
  /** Present if the device reaches only mapped memory. */
  readonly bounce: BouncePool | undefined;
  /** The device's size now. */
  capacityBytes(): number;
  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): QueueChannel;
  /** The queue is closed, and what it ran on. */
  release(): void;
}

function openCore(
  source: QueueSource,
  reactor: Reactor,
  onComplete: CompletionListener,
): QueueCore {
  const { slots, limits, regions, bounce } = source;
  return new QueueCore({
    slots,
    rules: new RequestRules(limits, () => source.capacityBytes()),
    regions,
    ...(bounce === undefined ? {} : { bounce }),
    onComplete,
    openChannel: (requests, handler) => source.openChannel(reactor, requests, handler),
  });
}

/** A reactor for a queue, which is released if there is none. Throws as `createDeviceReactor`. */
export function createQueueReactor(source: QueueSource, home: HomeKind): Reactor {
  try {
    return createDeviceReactor(home);
  } catch (error) {
    source.release();
    throw error;
  }
}

/** A completion descriptor for a queue, which is released if there is none, and its reactor. */
function createCompletionFd(source: QueueSource, reactor: Reactor): CompletionFd {
  try {
    return new CompletionFd(reactor);
  } catch (error) {
    reactor[Symbol.dispose]();
    source.release();
    throw asShortage(error);
  }
}

/** How a queue is to be used. */
export interface QueueOptions {
  /** It has a completion descriptor: see `Queue.completionFd`. Default: false. */
  readonly completionFd?: boolean | undefined;
}

/** A queue to use by `doIo`, on a reactor of its own. */
export function openBlockingQueue(source: QueueSource, options: QueueOptions = {}): Queue {
  const { slots, isPolled } = source;
  const hasCompletionFd = options.completionFd === true;
  // Who sleeps elsewhere needs a reactor that makes itself heard, as an event loop does.
  const reactor = createQueueReactor(source, hasCompletionFd ? 'attached' : 'blocking');
  return new Queue({
    reactor,
    isPolled,
    slots,
    completionFd: hasCompletionFd ? createCompletionFd(source, reactor) : undefined,
    openCore: (onComplete) => openCore(source, reactor, onComplete),
    onClose: () => source.release(),
  });
}

/** Where a queue of promises lives. */
export interface AsyncPlace {
  readonly reactor: Reactor;
  /** Do what there is to do on the reactor, at once. */
  readonly pump: () => void;
  /** The queue is closed. */
  readonly onClose: () => void;
}

/** A queue of promises. */
export function openAsyncQueue(source: QueueSource, place: AsyncPlace): AsyncQueue {
  const { reactor, pump } = place;
  return new AsyncQueue({
    openCore: (onComplete) => openCore(source, reactor, onComplete),
    pump,
    onClose: () => {
      place.onClose();
      source.release();
    },
  });
}
