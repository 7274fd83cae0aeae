/**
 * One queue's load: keeps `depth` requests under way on a driver ring and times them. Runs in one
 * thread with nothing else, and allocates nothing while it does.
 */
import type { RecordableHistogram } from 'node:perf_hooks';
import { awaitEvent, signalEvent } from '../src/sys/index.ts';
import type { DriverConnection, DriverQueue } from '../src/testing/index.ts';
import { HEADER_BYTES, RequestType, SECTOR_BYTES, Status } from '../src/virtio-blk/index.ts';
import { DriverRing, RingFeature } from '../src/virtqueue/index.ts';
import type { Workload } from './workload.ts';

const INDIRECT_ENTRIES = 4;
const NANOSECONDS_PER_MS = 1e6;
/** Deepest queue and largest block of all workloads: what buffers are made for. */
export const MAX_DEPTH = 128;
const MAX_BLOCK_BYTES = 128 * 1024;
/** Buffers at the largest block size; smaller blocks have one for each request. */
const MAX_LARGE_DEPTH = 16;

/** See the module's comment. */
export class LoadQueue {
  readonly #queue: DriverQueue;
  readonly #ring: DriverRing;
  readonly #headers: DataView;
  readonly #headersAt: number;
  readonly #statuses: Uint8Array;
  readonly #statusesAt: number;
  readonly #dataAt: number;
  readonly #slotOfHead: Int32Array;
  readonly #startedMs = new Float64Array(MAX_DEPTH);
  readonly #free = new Int32Array(MAX_DEPTH);
  #freeCount = 0;
  #random = 0x9e3779b9;
  #nextBlock = 0;
  #nowMs = 0;

  constructor(connection: DriverConnection, queue: DriverQueue) {
    const { ram, features } = connection;
    const has = (bit: number): boolean => (features & (1n << BigInt(bit))) !== 0n;
    const tables = ram.allocate(queue.memory.size * INDIRECT_ENTRIES * 16, 4096);
    const indirect = {
      view: new DataView(tables.bytes.buffer),
      address: tables.guestAddress,
      entriesPerTable: INDIRECT_ENTRIES,
    };
    this.#queue = queue;
    this.#ring = new DriverRing(queue.memory, {
      eventIdx: has(RingFeature.EVENT_IDX),
      ...(has(RingFeature.INDIRECT_DESC) ? { indirect } : {}),
    });
    const headers = ram.allocate(MAX_DEPTH * HEADER_BYTES, 4096);
    const statuses = ram.allocate(MAX_DEPTH, 4096);
    this.#headers = new DataView(headers.bytes.buffer);
    this.#headersAt = headers.guestAddress;
    this.#statuses = statuses.bytes;
    this.#statusesAt = statuses.guestAddress;
    this.#dataAt = ram.allocate(MAX_LARGE_DEPTH * MAX_BLOCK_BYTES, 4096).guestAddress;
    this.#slotOfHead = new Int32Array(queue.memory.size);
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#ring.inFlight;
  }

  /** Put `workload.depth` requests on the ring. */
  begin(workload: Workload, diskBytes: number): void {
    this.#freeCount = 0;
    for (let slot = workload.depth - 1; slot >= 0; slot--) {
      this.#free[this.#freeCount] = slot;
      this.#freeCount += 1;
    }
    this.#nowMs = performance.now();
    this.#refill(workload, diskBytes);
  }

  /**
   * Take what is finished, and put as many new requests on the ring unless `isOver`. Returns how
   * many were finished.
   */
  turn(
    workload: Workload,
    diskBytes: number,
    isOver: boolean,
    latencies: RecordableHistogram,
  ): number {
    const ring = this.#ring;
    const count = ring.usedCount();
    if (count === 0) return 0;
    this.#nowMs = performance.now();
    for (let done = 0; done < count; done++) {
      const head = ring.takeUsed();
      const slot = this.#slotOfHead[head];
      if (head < 0 || this.#statuses[slot] !== Status.OK) {
        throw new Error(`a request failed: head ${head}, status ${this.#statuses[slot]}`);
      }
      const latencyNs = Math.round((this.#nowMs - this.#startedMs[slot]) * NANOSECONDS_PER_MS);
      latencies.record(Math.max(latencyNs, 1));
      this.#free[this.#freeCount] = slot;
      this.#freeCount += 1;
    }
    if (!isOver) this.#refill(workload, diskBytes);
    return count;
  }

  #refill(workload: Workload, diskBytes: number): void {
    while (this.#freeCount > 0) {
      this.#freeCount -= 1;
      this.#submit(workload, diskBytes, this.#free[this.#freeCount]);
    }
    if (this.#ring.publish()) signalEvent(this.#queue.kick.number);
  }

  #submit(workload: Workload, diskBytes: number, slot: number): void {
    const { blockBytes } = workload;
    const isRead = workload.operation === 'read';
    const sector = this.#pickBlock(workload, diskBytes) * (blockBytes / SECTOR_BYTES);
    const headerAt = slot * HEADER_BYTES;
    this.#headers.setUint32(headerAt, isRead ? RequestType.IN : RequestType.OUT, true);
    this.#headers.setUint32(headerAt + 8, sector, true);
    this.#statuses[slot] = 0xff;
    const ring = this.#ring;
    ring.begin(3);
    this.#add(this.#headersAt + headerAt, HEADER_BYTES, false);
    this.#add(this.#dataAt + slot * blockBytes, blockBytes, isRead);
    this.#add(this.#statusesAt + slot, 1, true);
    this.#slotOfHead[ring.commit()] = slot;
    this.#startedMs[slot] = this.#nowMs;
  }

  #add(address: number, length: number, isWritable: boolean): void {
    this.#ring.add(address | 0, (address / 2 ** 32) | 0, length, isWritable);
  }

  #pickBlock(workload: Workload, diskBytes: number): number {
    const blocks = diskBytes / workload.blockBytes;
    if (workload.pattern === 'sequential') {
      this.#nextBlock = (this.#nextBlock + 1) % blocks;
      return this.#nextBlock;
    }
    // xorshift32
    let random = this.#random;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.#random = random;
    return (random >>> 0) % blocks;
  }

  /** Sleep until the device calls. */
  sleep(): void {
    if (this.#ring.requestCalls()) awaitEvent(this.#queue.call.number);
  }
}
