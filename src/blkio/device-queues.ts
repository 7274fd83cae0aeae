/**
 * The queues of a started device: which there are, by number, and those in use. Poll queues have
 * numbers of their own.
 */
import { AttachedHome, type Reactor } from '../sys/index.ts';
import type { AsyncQueue } from './async-queue.ts';
import { BouncePool } from './bounce-pool.ts';
import type { DeviceChoices } from './device-properties.ts';
import { createDeviceReactor } from './device-reactor.ts';
import type { DeviceLimits, Driver } from './driver.ts';
import { BlkioError } from './errors.ts';
import { Lease } from './lease.ts';
import type { MappedRegions } from './mapped-regions.ts';
import type { MemoryRegion } from './memory-region.ts';
import type { Queue } from './queue.ts';
import {
  openAsyncQueue,
  openBlockingQueue,
  type QueueOptions,
  type QueueSource,
} from './queue-source.ts';
import { type QueueHandle, SharedQueue } from './shared-queue.ts';

/** Memory through which buffers outside of mapped regions are copied, for each queue. */
export const BOUNCE_BYTES: number = 32 * 1024 * 1024;

/** What the queues are made with. */
export interface DeviceQueuesOptions {
  readonly driver: Driver;
  readonly choices: DeviceChoices;
  readonly regions: MappedRegions;
  /** `BOUNCE_BYTES` for each queue; present if the device reaches only mapped memory. */
  readonly bounce: MemoryRegion | undefined;
}

/** A queue's place: empty, or used by whichever face. */
type Place = AsyncQueue | Queue | SharedQueue | undefined;

/** The queues of one kind. */
class QueueKind {
  readonly name: string;
  readonly isPolled: boolean;
  /** What there is, by number. */
  readonly places = new Map<number, Place>();

  constructor(isPolled: boolean, count: number) {
    this.name = isPolled ? 'poll queue' : 'queue';
    this.isPolled = isPolled;
    for (let index = 0; index < count; index++) this.places.set(index, undefined);
  }

  /** @throws BlkioError ENOENT. */
  checkExists(index: number): void {
    if (this.places.has(index)) return;
    throw new BlkioError('ENOENT', `${this.name} ${index}: the device has ${this.places.size}`);
  }

  /** @throws BlkioError ENOENT, EBUSY. */
  checkUnused(index: number): void {
    this.checkExists(index);
    if (this.places.get(index) === undefined) return;
    throw new BlkioError('EBUSY', `${this.name} ${index} is in use already`);
  }

  /** The lowest number that is free. */
  add(): number {
    let index = 0;
    while (this.places.has(index)) index += 1;
    this.places.set(index, undefined);
    return index;
  }
}

/** See the module's comment. */
export class DeviceQueues {
  readonly #options: DeviceQueuesOptions;
  readonly #plain: QueueKind;
  readonly #polled: QueueKind;
  /** Where a poll queue's number starts, for the driver. */
  readonly #firstPolled: number;
  #attached: { readonly reactor: Reactor; readonly home: AttachedHome } | undefined;

  constructor(options: DeviceQueuesOptions) {
    const { numQueues, numPollQueues } = options.choices;
    this.#options = options;
    this.#plain = new QueueKind(false, numQueues);
    this.#polled = new QueueKind(true, numPollQueues);
    this.#firstPolled = numQueues;
  }

  /** @throws BlkioError ENOENT: no queue of this number; EBUSY: in use already; ENOSYS. */
  openBlocking(index: number, isPolled: boolean, options?: QueueOptions): Queue {
    const kind = this.#kind(isPolled);
    kind.checkUnused(index);
    const queue = openBlockingQueue(this.#source(index, isPolled), options);
    kind.places.set(index, queue);
    return queue;
  }

  /** Throws as `openBlocking`. */
  openAsync(index: number): AsyncQueue {
    this.#plain.checkUnused(index);
    const { reactor, home } = this.#attach();
    const queue = openAsyncQueue(this.#source(index, false), {
      reactor,
      pump: () => home.pump(),
      onClose: () => {},
    });
    this.#plain.places.set(index, queue);
    return queue;
  }

  /** A queue for another thread. Throws as `openBlocking`. */
  share(index: number, isPolled: boolean): QueueHandle {
    const kind = this.#kind(isPolled);
    kind.checkUnused(index);
    const { driver, regions, bounce } = this.#options;
    const key = this.#key(index, isPolled);
    const lease = new Lease();
    const shared = new SharedQueue({
      slots: driver.slotsPerQueue,
      isPolled,
      limits: this.#limits,
      channel: driver.shareQueue({ index: key, isPolled, lease }),
      bounce: bounce && {
        region: bounce.share(),
        offsetBytes: key * BOUNCE_BYTES,
        sizeBytes: BOUNCE_BYTES,
      },
      regions: regions.shared,
      lease: lease.shared,
    });
    kind.places.set(index, shared);
    return shared.handle;
  }

  /** Make another queue. Returns its number. @throws BlkioError ENOTSUP. */
  add(isPolled: boolean): number {
    this.#checkCanChange(isPolled);
    return this.#kind(isPolled).add();
  }

  /** @throws BlkioError ENOTSUP; ENOENT; EBUSY: requests are outstanding. */
  remove(index: number, isPolled: boolean): void {
    this.#checkCanChange(isPolled);
    const kind = this.#kind(isPolled);
    kind.checkExists(index);
    const queue = kind.places.get(index);
    const reason = busyReason(queue);
    if (reason !== undefined) throw new BlkioError('EBUSY', `${kind.name} ${index} ${reason}`);
    queue?.close();
    kind.places.delete(index);
  }

  #kind(isPolled: boolean): QueueKind {
    return isPolled ? this.#polled : this.#plain;
  }

  #checkCanChange(isPolled: boolean): void {
    const { driver } = this.#options;
    const canChange = driver.canAddQueues && (!isPolled || driver.limits().supportsPollQueues);
    if (canChange) return;
    const what = isPolled ? 'poll queues' : 'queues';
    throw new BlkioError('ENOTSUP', `${what} of a started device can't be added or removed`);
  }

  #source(index: number, isPolled: boolean): QueueSource {
    const { driver, regions, bounce } = this.#options;
    const key = this.#key(index, isPolled);
    return {
      slots: driver.slotsPerQueue,
      isPolled,
      limits: this.#limits,
      regions,
      bounce: bounce && new BouncePool(bounce, key * BOUNCE_BYTES, BOUNCE_BYTES),
      capacityBytes: () => driver.capacityBytes(),
      openChannel: (reactor, requests, handler) =>
        driver.openQueue({ index: key, isPolled, reactor, requests, handler }),
      release: () => {},
    };
  }

  #key(index: number, isPolled: boolean): number {
    return isPolled ? this.#firstPolled + index : index;
  }

  /** A back-end that can write is not to be asked to. */
  get #limits(): DeviceLimits {
    const { driver, choices } = this.#options;
    const limits = driver.limits();
    return { ...limits, readOnly: limits.readOnly || choices.readOnly };
  }

  #attach(): { readonly reactor: Reactor; readonly home: AttachedHome } {
    if (this.#attached === undefined) {
      const reactor = createDeviceReactor('attached');
      this.#attached = { reactor, home: new AttachedHome(reactor) };
    }
    return this.#attached;
  }

  close(): void {
    for (const { places } of [this.#plain, this.#polled]) {
      for (const queue of places.values()) queue?.close();
      places.clear();
    }
    this.#attached?.home.close();
    this.#attached?.reactor[Symbol.dispose]();
  }
}

/** Why a queue can't go; undefined: it can. */
function busyReason(queue: Place): string | undefined {
  if (queue instanceof SharedQueue) {
    return queue.isHeld ? 'is used by another thread, which must close it first' : undefined;
  }
  if (queue === undefined || queue.outstanding === 0) return undefined;
  return `has ${queue.outstanding} requests outstanding`;
}
