/**
 * A device and its states: created, where it is told what to connect to; connected, where its
 * properties are known; started, where there are queues. States, properties and errors are those of
 * libblkio.
 */
import { EventEmitter } from 'node:events';
import type { AsyncQueue } from './async-queue.ts';
import { type DeviceChoices, deviceProperties } from './device-properties.ts';
import { BOUNCE_BYTES, DeviceQueues } from './device-queues.ts';
import type { Driver } from './driver.ts';
import { createDriver } from './driver-names.ts';
import { BlkioError } from './errors.ts';
import { MappedRegions } from './mapped-regions.ts';
import { MemoryRegion } from './memory-region.ts';
import {
  type DeviceState,
  type PropertyInfo,
  PropertyTable,
  type PropertyType,
  type PropertyTypes,
  type PropertyValue,
} from './property-table.ts';
import type { Queue } from './queue.ts';
import type { QueueOptions } from './queue-source.ts';
import type { QueueHandle } from './shared-queue.ts';

/** What a started device tells, on the event loop: listeners may do with it what they like. */
export interface BlkioEvents {
  /** The capacity or another property has changed. */
  'config-change': [];
  /**
   * The device cannot be reached any more. ECONNRESET, ETIMEDOUT: its back-end is gone, or silent;
   * EPROTO: it talks nonsense. Requests fail from now on, unless the device is to reconnect.
   */
  disconnect: [reason: BlkioError];
  /** It can be reached again, after so many attempts; what was outstanding is being done. */
  reconnect: [attempts: number];
}

/** See the module's comment. */
export class Blkio extends EventEmitter<BlkioEvents> implements Disposable {
  readonly #driver: Driver;
  readonly #choices: DeviceChoices = { readOnly: false, numQueues: 1, numPollQueues: 0 };
  readonly #properties: PropertyTable;
  readonly #regions = new MappedRegions();
  #state: DeviceState = 'created';
  #lastChange: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** Memory to copy through; a pool for each queue. */
  #bounce: MemoryRegion | undefined;
  #queues: DeviceQueues | undefined;

  /**
   * A device that is not connected to anything yet.
   *
   * @param driverName - see `driverNames`.
   * @throws BlkioError ENOENT: there is no such driver.
   */
  constructor(driverName: string) {
    super();
    this.#driver = createDriver(driverName);
    this.#driver.events = {
      onConfigChange: () => this.#tell(() => this.emit('config-change')),
      onDisconnect: (reason) => this.#tell(() => this.emit('disconnect', reason)),
      onReconnect: (attempts) => this.#tell(() => this.emit('reconnect', attempts)),
    };
    this.#properties = new PropertyTable(() => this.#state);
    for (const property of deviceProperties(this.#driver, this.#choices)) {
      this.#properties.add(property);
    }
    for (const property of this.#driver.properties()) this.#properties.add(property);
  }

  /** Never from within the driver: listeners may throw, and close the device. */
  #tell(emit: () => void): void {
    process.nextTick(() => {
      if (!this.#isClosed) emit();
    });
  }

  get state(): DeviceState {
    return this.#state;
  }

  /** All properties of this driver's devices, with type, access and meaning. */
  listProperties(): PropertyInfo[] {
    return this.#properties.list();
  }

  /** @throws BlkioError ENOENT: no such property; ENODEV: not before it is connected. */
  get(name: string): PropertyValue {
    return this.#properties.get(name);
  }

  /** As `get`. @throws BlkioError ENOTTY, too: the property is of another type. */
  getTyped<Type extends PropertyType>(name: string, type: Type): PropertyTypes[Type] {
    return this.#properties.getTyped(name, type);
  }

  /**
   * @throws BlkioError ENOENT: no such property; ENOTTY: the value is of another type; EACCES: it
   * can't be set; EBUSY: not any more; EINVAL: the value makes no sense.
   */
  set(name: string, value: PropertyValue): void {
    this.#properties.set(name, value);
  }

  /** Set a property from text, as people write it on a command line. Throws as `set`. */
  setText(name: string, text: string): void {
    this.#properties.setText(name, text);
  }

  /** Size of the device in bytes. @throws BlkioError ENODEV: not before it is connected. */
  get capacityBytes(): number {
    return Number(this.getTyped('capacity', 'uint64'));
  }

  /**
   * Reach the device. Does nothing when it is connected. May be called again when it has failed.
   *
   * @throws BlkioError EBUSY: it is started; ENODEV: it is closed, or was meanwhile; others say why
   *   it can't be reached.
   */
  connect(): Promise<void> {
    return this.#inTurn(async () => {
      this.#checkOpen();
      if (this.#state === 'started') throw new BlkioError('EBUSY', 'the device is started already');
      if (this.#state === 'connected') return;
      const { readOnly } = this.#choices;
      await this.#orClosed(this.#driver.connect({ readOnly, regions: this.#regions }));
      this.#checkOpen();
      this.#state = 'connected';
    });
  }

  /**
   * Start the queues. Does nothing when it is started.
   *
   * @throws BlkioError ENODEV: it is not connected, or closed, perhaps meanwhile; EROFS: it is
   *   read-only and nobody said that this is all right; EINVAL: no queues, or more than there are.
   *   Others are the device's: it is not connected any more then.
   */
  start(): Promise<void> {
    return this.#inTurn(async () => {
      this.#checkOpen();
      if (this.#state === 'started') return;
      if (this.#state === 'created') throw new BlkioError('ENODEV', 'the device is not connected');
      const { numQueues: queues, numPollQueues: pollQueues } = this.#choices;
      this.#checkStart(queues, pollQueues);
      if (this.#driver.limits().needsMemRegions) this.#makeBounce(queues + pollQueues);
      try {
        await this.#orClosed(this.#driver.start({ queues, pollQueues }));
        this.#checkOpen();
      } catch (error) {
        this.#dropBounce();
        this.#state = 'created';
        throw error;
      }
      this.#state = 'started';
      this.#queues = new DeviceQueues({
        driver: this.#driver,
        choices: this.#choices,
        regions: this.#regions,
        bounce: this.#bounce,
      });
    });
  }

  #makeBounce(queues: number): void {
    this.#bounce = MemoryRegion.allocate(queues * BOUNCE_BYTES);
    this.#regions.add(this.#bounce);
  }

  #dropBounce(): void {
    if (this.#bounce === undefined) return;
    this.#regions.delete(this.#bounce);
    this.#bounce[Symbol.dispose]();
    this.#bounce = undefined;
  }

  #checkStart(queues: number, pollQueues: number): void {
    const limits = this.#driver.limits();
    if (limits.readOnly && !this.#choices.readOnly) {
      throw new BlkioError('EROFS', 'the device is read-only: set read-only to accept that');
    }
    if (queues + pollQueues === 0 && !this.#driver.canAddQueues) {
      throw new BlkioError('EINVAL', 'there must be a queue');
    }
    if (queues + pollQueues > limits.maxQueues) {
      const text = `${queues} queues and ${pollQueues} poll queues`;
      throw new BlkioError('EINVAL', `${text}: the device has ${limits.maxQueues} in all`);
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new BlkioError('ENODEV', 'the device is closed');
  }

  /** What a driver is at fails when the device is closed: that is the reason then. */
  async #orClosed(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (cause) {
      if (!this.#isClosed) throw cause;
      throw new BlkioError('ENODEV', 'the device was closed', { cause });
    }
  }

  /** Changes of what the device knows take place one after the other, each on what the last left. */
  #inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.#lastChange.then(change);
    this.#lastChange = turn.catch(() => {});
    return turn;
  }

  /**
   * Let the device reach a region without copying.
   *
   * @throws BlkioError ENODEV: it is not connected, or was closed meanwhile; EINVAL: it is mapped
   *   already, or misaligned; ENOMEM: the device has no room for another.
   */
  mapRegion(region: MemoryRegion): Promise<void> {
    return this.#inTurn(() => this.#mapRegion(region));
  }

  async #mapRegion(region: MemoryRegion): Promise<void> {
    this.#checkOpen();
    if (this.#state === 'created') throw new BlkioError('ENODEV', 'the device is not connected');
    if (this.#regions.has(region)) throw new BlkioError('EINVAL', 'the region is mapped already');
    const { memRegionAlignment, maxMemRegions } = this.#driver.limits();
    if (region.address % memRegionAlignment !== 0 || region.sizeBytes % memRegionAlignment !== 0) {
      const text = `a region must start and end at multiples of ${memRegionAlignment} bytes`;
      throw new BlkioError('EINVAL', text);
    }
    const mapped = this.#regions.size - (this.#bounce === undefined ? 0 : 1);
    if (BigInt(mapped) >= maxMemRegions) {
      throw new BlkioError('ENOMEM', `more than ${maxMemRegions} regions at a time`);
    }
    this.#regions.add(region);
    try {
      if (this.#state === 'started') {
        await this.#orClosed(this.#driver.mapRegion(region));
        this.#checkOpen();
      }
    } catch (error) {
      this.#regions.delete(region);
      throw error;
    }
    this.#regions.show(region);
  }

  /** End that. No request on the region may be outstanding. @throws BlkioError EINVAL. */
  unmapRegion(region: MemoryRegion): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#regions.has(region)) throw new BlkioError('EINVAL', 'the region is not mapped');
      this.#regions.delete(region);
      if (this.#state === 'started') await this.#driver.unmapRegion(region);
    });
  }

  /**
   * A queue to use by `doIo`, in this thread.
   *
   * @throws BlkioError ENODEV: not started; ENOENT: no queue of this number; EBUSY: in use already;
   *   ENOSYS: `VHOSTKIT_ENGINE` asks for io_uring, and the system refuses it.
   */
  queue(index: number, options?: QueueOptions): Queue {
    return this.#startedQueues('ENODEV').openBlocking(index, false, options);
  }

  /** As `queue`, for a poll queue, which has no completion descriptor. */
  pollQueue(index: number): Queue {
    return this.#startedQueues('ENODEV').openBlocking(index, true);
  }

  /** A queue whose requests are promises, on Node's event loop. Throws as `queue`. */
  asyncQueue(index: number): AsyncQueue {
    return this.#startedQueues('ENODEV').openAsync(index);
  }

  /**
   * A queue for another thread, which makes it its own by `adoptQueue` or `adoptAsyncQueue` and
   * must close it; this thread must keep its event loop going meanwhile. To be posted, or given to
   * a worker as its data. A queue can be shared once.
   *
   * Throws as `queue`.
   */
  shareQueue(index: number): QueueHandle {
    return this.#startedQueues('ENODEV').share(index, false);
  }

  /** As `shareQueue`, for a poll queue. */
  sharePollQueue(index: number): QueueHandle {
    return this.#startedQueues('ENODEV').share(index, true);
  }

  /**
   * Make another queue. Returns its number.
   *
   * @throws BlkioError EBUSY: not before the device is started; ENOTSUP: see `can-add-queues`.
   */
  addQueue(): number {
    return this.#startedQueues('EBUSY').add(false);
  }

  /** As `addQueue`, for a poll queue. */
  addPollQueue(): number {
    return this.#startedQueues('EBUSY').add(true);
  }

  /**
   * Do away with a queue.
   *
   * @throws BlkioError EBUSY: not before the device is started, or requests are outstanding;
   *   or another thread uses it; ENOTSUP: see `can-add-queues`; ENOENT: there is none of this
   *   number.
   */
  removeQueue(index: number): void {
    this.#startedQueues('EBUSY').remove(index, false);
  }

  /** As `removeQueue`, for a poll queue. */
  removePollQueue(index: number): void {
    this.#startedQueues('EBUSY').remove(index, true);
  }

  #startedQueues(code: 'ENODEV' | 'EBUSY'): DeviceQueues {
    this.#checkOpen();
    if (this.#queues !== undefined) return this.#queues;
    throw new BlkioError(code, 'the device is not started');
  }

  /**
   * Let the device go. No request may be outstanding, unless the device is out of reach: then they
   * fail with ENOTCONN. What `connect`, `start` and `mapRegion` are at ends with ENODEV.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queues?.close();
    this.#driver.close();
    this.#dropBounce();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
