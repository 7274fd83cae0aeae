/**
 * The queues of a started device: which there are, by number, and those in use. Poll queues have
 * numbers of their own.
 */
import { AttachedHome, createReactor, type Reactor } from '../sys/index.ts';
import { AsyncQueue } from './async-queue.ts';
import { BouncePool } from './bounce-pool.ts';
import type { DeviceChoices } from './device-properties.ts';
import type { Driver } from './driver.ts';
import { BlkioError } from './errors.ts';
import type { MappedRegions, MemoryRegion } from './memory-region.ts';
import { Queue } from './queue.ts';
import { QueueCore } from './queue-core.ts';
import { RequestRules } from './request-rules.ts';

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
type Place = AsyncQueue | Queue | undefined;

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

  /** @throws BlkioError ENOENT: no queue of this number; EBUSY: in use already. */
  openBlocking(index: number, isPolled: boolean): Queue {
    const kind = this.#kind(isPolled);
    kind.checkUnused(index);
    const { reactor } = createReactor('blocking');
    const queue = new Queue({
      reactor,
      isPolled,
      slots: this.#options.driver.slotsPerQueue,
      openCore: (onComplete) => this.#openCore(index, isPolled, reactor, onComplete),
    });
    kind.places.set(index, queue);
    return queue;
  }

  /** Throws as `openBlocking`. */
  openAsync(index: number): AsyncQueue {
    this.#plain.checkUnused(index);
    const { reactor, home } = this.#attach();
    const queue = new AsyncQueue({
      openCore: (onComplete) => this.#openCore(index, false, reactor, onComplete),
      pump: () => home.pump(),
    });
    this.#plain.places.set(index, queue);
    return queue;
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
    if (queue !== undefined && queue.outstanding > 0) {
      const text = `${kind.name} ${index} has ${queue.outstanding} requests outstanding`;
      throw new BlkioError('EBUSY', text);
    }
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

  #openCore(
    index: number,
    isPolled: boolean,
    reactor: Reactor,
    onComplete: (slot: number) => void,
  ): QueueCore {
    const { driver, choices, regions, bounce } = this.#options;
    // A back-end that can write is not to be asked to.
    const readOnly = driver.limits().readOnly || choices.readOnly;
    const limits = { ...driver.limits(), readOnly };
    const key = isPolled ? this.#firstPolled + index : index;
    const pool = bounce && new BouncePool(bounce, key * BOUNCE_BYTES, BOUNCE_BYTES);
    return new QueueCore({
      slots: driver.slotsPerQueue,
      rules: new RequestRules(limits, () => driver.capacityBytes()),
      regions,
      ...(pool === undefined ? {} : { bounce: pool }),
      onComplete,
      openChannel: (requests, handler) =>
        driver.openQueue({ index: key, isPolled, reactor, requests, handler }),
    });
  }

  #attach(): { readonly reactor: Reactor; readonly home: AttachedHome } {
    if (this.#attached === undefined) {
      const { reactor } = createReactor('attached');
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
