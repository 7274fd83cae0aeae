/**
 * What all queues have in common: slots for requests, checks, addresses of buffers, and the way
 * from a request to its completion. A queue has as many requests under way as it has slots; what is
 * more waits in line. How completions reach the user is up to the kind of queue.
 */
import { DiskFlag, DiskOperation, DiskRequests } from '../storage/index.ts';
import { bufferAddress, Errno, PENDING } from '../sys/index.ts';
import type { BouncePool } from './bounce-pool.ts';
import type { QueueChannel } from './driver.ts';
import type { ReachableMemory } from './mapped-regions.ts';
import { RequestFlag } from './request-flag.ts';
import type { Refusal, RequestRules } from './request-rules.ts';

const NO_BOUNCE = -1;

/** A request as it was made. */
export interface QueuedRequest {
  readonly operation: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly buffers: readonly Uint8Array[];
  readonly flags: number;
  readonly token: unknown;
}

/** Told about every request, exactly once; the slot is its owner's until `release`. */
export type CompletionListener = (slot: number) => void;

export interface QueueCoreOptions {
  readonly slots: number;
  readonly rules: RequestRules;
  readonly regions: ReachableMemory;
  /** Present if the device reaches only mapped memory. */
  readonly bounce?: BouncePool;
  readonly onComplete: CompletionListener;
  readonly openChannel: (requests: DiskRequests, core: QueueCore) => QueueChannel;
}

const NO_BUFFERS: readonly Uint8Array[] = [];

/** See the module's comment. */
export class QueueCore {
  readonly slots: number;
  /** By slot, once completed: 0 or a negative errno, and why if there is more to say. */
  readonly results: Int32Array;
  readonly messages: (string | undefined)[];
  /** By slot: what the user gave with the request. */
  readonly tokens: unknown[];
  /** Requests whose data had to be copied. */
  bounced = 0;
  readonly #requests: DiskRequests;
  readonly #channel: QueueChannel;
  readonly #rules: RequestRules;
  readonly #regions: ReachableMemory;
  readonly #bounce: BouncePool | undefined;
  readonly #onComplete: CompletionListener;
  /** By slot: keeps the memory alive, and shows where bounced data goes. */
  readonly #buffers: (Uint8Array | readonly Uint8Array[] | undefined)[];
  readonly #bounceOffset: Int32Array;
  readonly #free: Int32Array;
  #freeCount: number;
  #waiting: QueuedRequest[] = [];
  #waitingFrom = 0;
  /** The first in line waits for memory to copy through. */
  #lacksMemory = false;
  #isStarting = false;

  constructor(options: QueueCoreOptions) {
    const { slots } = options;
    this.slots = slots;
    this.results = new Int32Array(slots);
    this.messages = new Array<string | undefined>(slots).fill(undefined);
    this.tokens = new Array<unknown>(slots).fill(undefined);
    this.#buffers = new Array<undefined>(slots).fill(undefined);
    this.#bounceOffset = new Int32Array(slots).fill(NO_BOUNCE);
    this.#free = Int32Array.from({ length: slots }, (_, index) => slots - 1 - index);
    this.#freeCount = slots;
    this.#rules = options.rules;
    this.#regions = options.regions;
    this.#bounce = options.bounce;
    this.#onComplete = options.onComplete;
    this.#requests = new DiskRequests(slots);
    this.#channel = options.openChannel(this.#requests, this);
  }

  /** Requests made and not yet released. */
  get outstanding(): number {
    return this.slots - this.#freeCount + this.#waiting.length - this.#waitingFrom;
  }

  /** Whether some requests wait in line. */
  get isWaiting(): boolean {
    return this.#waiting.length > this.#waitingFrom;
  }

  /** Read or write one buffer. */
  transfer(
    operation: number,
    offset: number,
    buffer: Uint8Array,
    token: unknown,
    flags: number,
  ): void {
    const slot = this.isWaiting ? -1 : this.#takeSlot(token);
    if (slot < 0) {
      const lengthBytes = buffer.length;
      this.#wait({ operation, offset, lengthBytes, buffers: [buffer], flags, token });
      return;
    }
    const refusal = this.#rules.refuseTransfer(operation, offset, buffer.length, 1, flags);
    if (refusal !== undefined) {
      this.#refuse(slot, refusal);
      return;
    }
    if (buffer.length === 0) {
      this.onDiskDone(slot, 0);
      return;
    }
    this.#requests.iovecs.clear(slot);
    if (!this.#mapBuffer(slot, buffer)) {
      this.#startBounced(slot, operation, offset, buffer.length, [buffer], flags);
      return;
    }
    this.#buffers[slot] = buffer;
    this.#start(slot, operation, offset, buffer.length, flags);
  }

  /** Any request. */
  submit(request: QueuedRequest): void {
    const slot = this.isWaiting ? -1 : this.#takeSlot(request.token);
    if (slot < 0) this.#wait(request);
    else this.#startQueued(slot, request);
  }

  /** Nothing gets done before the event loop of the device's thread has had its turn. */
  get needsEventLoop(): boolean {
    return this.#channel.needsEventLoop;
  }

  /** Show the device what has been started. */
  flush(): void {
    this.#channel.flush();
  }

  onDiskDone(slot: number, result: number): void {
    const offset = this.#bounceOffset[slot];
    if (offset !== NO_BOUNCE) this.#endBounce(slot, offset, result);
    this.#buffers[slot] = undefined;
    this.results[slot] = result;
    this.#onComplete(slot);
  }

  /** The completion has reached the user: another request may have the slot. */
  release(slot: number): void {
    this.tokens[slot] = undefined;
    this.messages[slot] = undefined;
    this.#free[this.#freeCount++] = slot;
    this.#lacksMemory = false;
    if (this.isWaiting) this.#startWaiting();
  }

  /** Nothing is outstanding. */
  close(): void {
    this.#channel.close();
    this.#requests[Symbol.dispose]();
  }

  #takeSlot(token: unknown): number {
    if (this.#freeCount === 0) return -1;
    const slot = this.#free[--this.#freeCount];
    this.tokens[slot] = token;
    return slot;
  }

  #wait(request: QueuedRequest): void {
    this.#waiting.push(request);
  }

  /** A request that is done at once comes back here: the loop goes on with the next one. */
  #startWaiting(): void {
    if (this.#isStarting) return;
    this.#isStarting = true;
    this.#startThoseInLine();
    this.#isStarting = false;
  }

  #startThoseInLine(): void {
    while (this.#waitingFrom < this.#waiting.length) {
      if (this.#lacksMemory) return;
      const request = this.#waiting[this.#waitingFrom];
      const slot = this.#takeSlot(request.token);
      if (slot < 0) return;
      this.#waitingFrom += 1;
      this.#startQueued(slot, request);
    }
    this.#waiting = [];
    this.#waitingFrom = 0;
  }

  #startQueued(slot: number, request: QueuedRequest): void {
    const { operation, offset, lengthBytes, buffers, flags } = request;
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      this.#refuse(slot, refusal);
      return;
    }
    if (operation !== DiskOperation.FLUSH && lengthBytes === 0) {
      this.onDiskDone(slot, 0);
      return;
    }
    if (operation > DiskOperation.WRITE) {
      this.#requests.iovecs.clear(slot);
      this.#start(slot, operation, offset, lengthBytes, flags);
      return;
    }
    if (this.#mapBuffers(slot, buffers)) this.#start(slot, operation, offset, lengthBytes, flags);
    else this.#startBounced(slot, operation, offset, lengthBytes, buffers, flags);
  }

  #refusalOf(request: QueuedRequest): Refusal | undefined {
    const { operation, offset, lengthBytes, buffers, flags } = request;
    const rules = this.#rules;
    if (operation === DiskOperation.FLUSH) return rules.refuseFlush(flags);
    if (operation > DiskOperation.FLUSH) {
      return rules.refuseRange(operation, offset, lengthBytes, flags);
    }
    return rules.refuseTransfer(operation, offset, lengthBytes, buffers.length, flags);
  }

  #refuse(slot: number, refusal: Refusal): void {
    this.messages[slot] = refusal.message;
    this.onDiskDone(slot, refusal.result);
  }

  /** Add a buffer's address to a slot's list. False if the device can't reach it. */
  #mapBuffer(slot: number, buffer: Uint8Array): boolean {
    const regions = this.#regions;
    const { iovecs } = this.#requests;
    if (regions.locate(buffer)) {
      iovecs.push(slot, regions.foundLow, regions.foundHigh, buffer.length);
      return true;
    }
    if (this.#bounce !== undefined) return false;
    const address = bufferAddress(buffer);
    iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, buffer.length);
    return true;
  }

  /** Put the addresses of buffers into a slot's list. False if the device can't reach them all. */
  #mapBuffers(slot: number, buffers: readonly Uint8Array[]): boolean {
    this.#requests.iovecs.clear(slot);
    for (const buffer of buffers) {
      if (buffer.length > 0 && !this.#mapBuffer(slot, buffer)) return false;
    }
    this.#buffers[slot] = buffers;
    return true;
  }

  #startBounced(
    slot: number,
    operation: number,
    offset: number,
    lengthBytes: number,
    buffers: readonly Uint8Array[],
    flags: number,
  ): void {
    const pool = this.#bounce;
    if (pool === undefined || lengthBytes > pool.maxBytes) {
      const message = `${lengthBytes} bytes outside of mapped memory regions: too many to copy`;
      this.#refuse(slot, { result: -Errno.EINVAL, message });
      return;
    }
    const at = pool.take(lengthBytes);
    if (at < 0) {
      // Goes first as soon as another request, which has some, is done.
      const token = this.tokens[slot];
      this.#free[this.#freeCount++] = slot;
      this.#waiting.splice(this.#waitingFrom, 0, {
        operation,
        offset,
        lengthBytes,
        buffers,
        flags,
        token,
      });
      this.#lacksMemory = true;
      return;
    }
    this.bounced += 1;
    this.#bounceOffset[slot] = at;
    this.#buffers[slot] = buffers;
    if (operation === DiskOperation.WRITE) pool.gather(at, buffers);
    const address = pool.addressOf(at);
    const { iovecs } = this.#requests;
    iovecs.clear(slot);
    iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, lengthBytes);
    this.#start(slot, operation, offset, lengthBytes, flags);
  }

  #endBounce(slot: number, offset: number, result: number): void {
    const requests = this.#requests;
    const buffers = this.#buffers[slot] as readonly Uint8Array[];
    this.#bounceOffset[slot] = NO_BOUNCE;
    if (result === 0 && requests.operation[slot] === DiskOperation.READ) {
      this.#bounce?.scatter(offset, buffers);
    }
    this.#bounce?.give(offset, requests.lengthBytes[slot]);
  }

  #start(
    slot: number,
    operation: number,
    offset: number,
    lengthBytes: number,
    flags: number,
  ): void {
    const requests = this.#requests;
    requests.operation[slot] = operation;
    requests.flags[slot] = flags === 0 ? defaultFlags(operation) : diskFlags(operation, flags);
    requests.offsetLow[slot] = offset | 0;
    requests.offsetHigh[slot] = (offset / 2 ** 32) | 0;
    requests.lengthBytes[slot] = lengthBytes;
    const result = this.#channel.start(slot);
    if (result !== PENDING) this.onDiskDone(slot, result);
  }
}

function defaultFlags(operation: number): number {
  return operation === DiskOperation.WRITE_ZEROES ? DiskFlag.UNMAP : 0;
}

function diskFlags(operation: number, flags: number): number {
  const stable = (flags & RequestFlag.FUA) === 0 ? 0 : DiskFlag.STABLE;
  if (operation !== DiskOperation.WRITE_ZEROES) return stable;
  const unmap = (flags & RequestFlag.NO_UNMAP) === 0 ? DiskFlag.UNMAP : 0;
  const fallback = (flags & RequestFlag.NO_FALLBACK) === 0 ? 0 : DiskFlag.NO_FALLBACK;
  return stable | unmap | fallback;
}

/** No buffers: for requests without data. */
export { NO_BUFFERS };
