/**
 * A virtio-blk driver for tests: each request is a promise, and its descriptors can be laid out in
 * any way the specification allows.
 */
import { type Reactor, signalEvent, type Watch } from '../sys/index.ts';
import { HEADER_BYTES, SECTOR_BYTES } from '../virtio-blk/index.ts';
import {
  BAD_USED,
  createDriverRing,
  type DriverRing,
  NO_USED,
  RingFeature,
  ringFormat,
} from '../virtqueue/index.ts';
import {
  DriverConnection,
  type DriverConnectionOptions,
  type DriverQueue,
} from './driver-connection.ts';
import type { GuestBuffer } from './guest-ram.ts';

/** A request as a driver makes it. */
export interface BlockRequest {
  /** `RequestType`, or any other number. */
  readonly type: number;
  readonly sector?: number | bigint;
  /** Data for the device. */
  readonly data?: Uint8Array;
  /** Room for data from the device, in bytes. */
  readonly room?: number;
  /**
   * Lengths of the descriptors that hold header and data, and of those that hold room and status.
   * Default: header, data, room and status each in one of its own.
   */
  readonly readable?: readonly number[];
  readonly writable?: readonly number[];
}

/** How a request was answered. */
export interface BlockResult {
  readonly status: number;
  /** What the device put into the room: a copy of all of it. */
  readonly data: Uint8Array;
  /** What the used ring says was written. */
  readonly usedLength: number;
}

/** Value of the status byte before the device writes it. */
export const STATUS_UNTOUCHED = 0xee;
/** Most bytes of header, data, room and status of a request. */
const SLOT_BYTES = 192 * 1024;
const INDIRECT_ENTRIES = 64;

interface Pending {
  readonly slot: number;
  readonly writable: Uint8Array;
  readonly resolve: (result: BlockResult) => void;
  readonly reject: (error: Error) => void;
}

/** One queue's driver. */
class QueueDriver {
  readonly queue: DriverQueue;
  readonly ring: DriverRing;
  readonly #watch: Watch;
  readonly #slots: readonly GuestBuffer[];
  readonly #free: number[];
  readonly #pending = new Map<number, Pending>();
  #failure: Error | undefined;

  constructor(connection: DriverConnection, queue: DriverQueue, reactor: Reactor) {
    this.queue = queue;
    const has = (bit: number): boolean => (connection.features & (1n << BigInt(bit))) !== 0n;
    this.ring = createDriverRing(ringFormat(connection.features), queue.memory, {
      eventIdx: has(RingFeature.EVENT_IDX),
      ...(has(RingFeature.INDIRECT_DESC) ? { indirect: indirectTables(connection, queue) } : {}),
    });
    const slots = Math.min(queue.memory.size, 64);
    this.#slots = Array.from({ length: slots }, () => connection.ram.allocate(SLOT_BYTES, 4096));
    this.#free = this.#slots.map((_, index) => index);
    this.#watch = reactor.watch(queue.call.number, { onReadable: () => this.#takeAll() });
  }

  request(request: BlockRequest): Promise<BlockResult> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const slot = this.#free.pop();
    if (slot === undefined) throw new Error('too many requests under way');
    const buffer = this.#slots[slot];
    const data = request.data ?? new Uint8Array(0);
    const readable = buffer.bytes.subarray(0, HEADER_BYTES + data.length);
    const writable = buffer.bytes.subarray(
      readable.length,
      readable.length + (request.room ?? 0) + 1,
    );
    const header = new DataView(readable.buffer, readable.byteOffset, HEADER_BYTES);
    header.setUint32(0, request.type, true);
    header.setUint32(4, 0, true);
    header.setBigUint64(8, BigInt(request.sector ?? 0), true);
    readable.set(data, HEADER_BYTES);
    writable.fill(STATUS_UNTOUCHED);
    const readablePieces = request.readable ?? withoutZero([HEADER_BYTES, data.length]);
    const writablePieces = request.writable ?? withoutZero([request.room ?? 0, 1]);
    const head = this.#push(buffer.guestAddress, readablePieces, writablePieces);
    return new Promise((resolve, reject) => {
      this.#pending.set(head, { slot, writable, resolve, reject });
      if (this.ring.publish()) signalEvent(this.queue.kick.number);
      this.#takeAll();
    });
  }

  #push(start: number, readable: readonly number[], writable: readonly number[]): number {
    if (!this.ring.begin(readable.length + writable.length)) throw new Error('the ring is full');
    let address = start;
    const add = (length: number, isWritable: boolean): void => {
      this.ring.add(address | 0, (address / 2 ** 32) | 0, length, isWritable);
      address += length;
    };
    for (const length of readable) add(length, false);
    for (const length of writable) add(length, true);
    return this.ring.commit();
  }

  #takeAll(): void {
    do {
      for (;;) {
        const head = this.ring.takeUsed();
        if (head === NO_USED) break;
        const pending = this.#pending.get(head);
        if (head === BAD_USED || pending === undefined) {
          this.fail(new Error('the device used a chain that it was not given'));
          return;
        }
        this.#pending.delete(head);
        this.#free.push(pending.slot);
        const { writable } = pending;
        pending.resolve({
          status: writable[writable.length - 1],
          data: writable.slice(0, -1),
          usedLength: this.ring.usedLength,
        });
      }
    } while (!this.ring.requestCalls());
  }

  /** Nothing will be answered any more. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  close(): void {
    this.#watch.close();
    this.fail(new Error('the driver was closed'));
  }
}

function withoutZero(lengths: readonly number[]): number[] {
  return lengths.filter((length) => length > 0);
}

function indirectTables(connection: DriverConnection, queue: DriverQueue) {
  const buffer = connection.ram.allocate(queue.memory.size * INDIRECT_ENTRIES * 16, 4096);
  return {
    view: new DataView(buffer.bytes.buffer),
    address: buffer.guestAddress,
    entriesPerTable: INDIRECT_ENTRIES,
  };
}

/** See the module's comment. */
export class BlockDriver {
  readonly connection: DriverConnection;
  readonly #queues: readonly QueueDriver[];

  /** Connect to a back-end and start its rings. */
  static async open(options: DriverConnectionOptions): Promise<BlockDriver> {
    const connection = await DriverConnection.open(options);
    const queues = connection.queues.map(
      (queue) => new QueueDriver(connection, queue, options.reactor),
    );
    const driver = new BlockDriver(connection, queues);
    connection.session.onDisconnect = (reason) => {
      for (const queue of queues) queue.fail(reason);
    };
    return driver;
  }

  private constructor(connection: DriverConnection, queues: readonly QueueDriver[]) {
    this.connection = connection;
    this.#queues = queues;
  }

  /** Put a request on a queue. Rejects when the connection ends before it is answered. */
  request(request: BlockRequest, queue = 0): Promise<BlockResult> {
    return this.#queues[queue].request(request);
  }

  /** Read whole sectors. Rejects unless the status is OK. */
  async read(sector: number, sectors: number, queue = 0): Promise<Uint8Array> {
    const result = await this.request({ type: 0, sector, room: sectors * SECTOR_BYTES }, queue);
    if (result.status !== 0) throw new Error(`read of sector ${sector}: status ${result.status}`);
    return result.data;
  }

  /** Write whole sectors. Rejects unless the status is OK. */
  async write(sector: number, data: Uint8Array, queue = 0): Promise<void> {
    const result = await this.request({ type: 1, sector, data }, queue);
    if (result.status !== 0) throw new Error(`write of sector ${sector}: status ${result.status}`);
  }

  /** Hang up. Requests under way are rejected. */
  close(): void {
    for (const queue of this.#queues) queue.close();
    this.connection.close();
  }
}
