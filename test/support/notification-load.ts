/**
 * Load that is asleep as often as it can be: a synchronous loop on one ring that sleeps on its call
 * descriptor as a guest's processor waits for an interrupt. What it would not survive is a lost
 * wake-up: then both sides sleep. A watchdog thread wakes this side up in that case, to tell.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { awaitEvent, signalEvent } from '../../src/sys/index.ts';
import type { DriverConnection, DriverQueue, GuestBuffer } from '../../src/testing/index.ts';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import {
  createDriverRing,
  type DriverRing,
  RingFeature,
  ringFormat,
} from '../../src/virtqueue/index.ts';
import { headerBytes } from './chain-driver.ts';

/** Far above any delay of a machine; shorter waits are somebody else's slowness. */
const STALL_MS = 20_000;
const MAX_DEPTH = 16;
/** Bytes for statuses, used in turn: many more than there are requests under way. */
const STATUS_SLOTS = 256;

/** What the watchdog does, in a thread of its own: this one is asleep in the kernel. */
const WATCHDOG = `
const { workerData: { shared, fd, stallMs }, parentPort } = require('node:worker_threads');
const cells = new Int32Array(shared);
let seen = -1;
parentPort.postMessage('ready');
while (Atomics.load(cells, 1) === 0) {
  const progress = Atomics.load(cells, 0);
  if (progress === seen) {
    Atomics.store(cells, 2, 1);
    require('node:fs').writeSync(fd, new Uint8Array(new BigUint64Array([1n]).buffer));
  }
  seen = progress;
  Atomics.wait(cells, 1, 0, stallMs);
}
`;

/** How a load went. */
export interface LoadResult {
  readonly requests: number;
  /** Times the loop slept, and times it kicked. */
  readonly sleeps: number;
  readonly kicks: number;
}

class Watchdog {
  readonly #cells = new Int32Array(new SharedArrayBuffer(12));
  readonly #worker: Worker;

  static async start(fd: number): Promise<Watchdog> {
    const watchdog = new Watchdog(fd);
    await once(watchdog.#worker, 'message');
    return watchdog;
  }

  private constructor(fd: number) {
    const workerData = { shared: this.#cells.buffer, fd, stallMs: STALL_MS };
    this.#worker = new Worker(WATCHDOG, { eval: true, workerData });
  }

  progress(): void {
    this.#cells[0] = (this.#cells[0] + 1) | 0;
  }

  get hasBarked(): boolean {
    return Atomics.load(this.#cells, 2) !== 0;
  }

  async stop(): Promise<void> {
    Atomics.store(this.#cells, 1, 1);
    Atomics.notify(this.#cells, 1);
    await once(this.#worker, 'exit');
  }
}

/** Reads of one sector on one queue, with all numbers that matter for notifications at random. */
class SleepyLoop {
  readonly #queue: DriverQueue;
  readonly #ring: DriverRing;
  readonly #header: GuestBuffer;
  readonly #data: GuestBuffer;
  readonly #statuses: GuestBuffer;
  readonly #slotOfHead: Uint8Array;
  #nextSlot = 0;
  #random: number;
  kicks = 0;
  sleeps = 0;

  constructor(connection: DriverConnection, queue: DriverQueue, seed: number) {
    const { ram, features } = connection;
    const eventIdx = (features & (1n << BigInt(RingFeature.EVENT_IDX))) !== 0n;
    this.#queue = queue;
    this.#ring = createDriverRing(ringFormat(features), queue.memory, { eventIdx });
    this.#header = ram.allocate(16);
    this.#data = ram.allocate(512);
    this.#statuses = ram.allocate(STATUS_SLOTS);
    this.#slotOfHead = new Uint8Array(queue.memory.size);
    this.#header.bytes.set(headerBytes(RequestType.IN, 0));
    this.#random = seed | 1;
  }

  /** A number from 1 to `most`. */
  #pick(most: number): number {
    // xorshift32
    let random = this.#random;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.#random = random;
    return ((random >>> 0) % most) + 1;
  }

  run(count: number, eventIdx: boolean, watchdog: Watchdog): void {
    const ring = this.#ring;
    let submitted = 0;
    let done = 0;
    while (done < count) {
      const wanted = Math.min(this.#pick(MAX_DEPTH) - ring.inFlight, count - submitted);
      for (let each = 0; each < wanted; each++) this.#submit();
      submitted += Math.max(0, wanted);
      if (ring.publish()) {
        this.kicks += 1;
        signalEvent(this.#queue.kick.number);
      }
      // With EVENT_IDX a call may be asked for after any number of those under way.
      const after = eventIdx ? this.#pick(ring.inFlight) : 1;
      if (ring.requestCalls(after)) {
        this.sleeps += 1;
        awaitEvent(this.#queue.call.number);
        if (watchdog.hasBarked) throw new Error(this.#describeStall(done));
        ring.suppressCalls();
      }
      done += this.#takeAll();
      watchdog.progress();
    }
  }

  #submit(): void {
    const ring = this.#ring;
    if (!ring.begin(3)) throw new Error('the ring is full');
    this.#add(this.#header.guestAddress, 16, false);
    this.#add(this.#data.guestAddress, 512, true);
    const slot = this.#nextSlot;
    this.#nextSlot = (slot + 1) % STATUS_SLOTS;
    this.#statuses.bytes[slot] = 0xff;
    this.#add(this.#statuses.guestAddress + slot, 1, true);
    this.#slotOfHead[ring.commit()] = slot;
  }

  #add(address: number, length: number, isWritable: boolean): void {
    this.#ring.add(address | 0, (address / 2 ** 32) | 0, length, isWritable);
  }

  #takeAll(): number {
    const count = this.#ring.usedCount();
    for (let each = 0; each < count; each++) {
      const head = this.#ring.takeUsed();
      const status = this.#statuses.bytes[this.#slotOfHead[head]];
      if (head < 0 || status !== Status.OK) {
        throw new Error(`a request failed: head ${head}, status ${status}`);
      }
    }
    return count;
  }

  #describeStall(done: number): string {
    const ring = this.#ring;
    return (
      `nothing for ${STALL_MS} ms, after ${done} requests, ${this.sleeps} sleeps and ` +
      `${this.kicks} kicks: ${ring.inFlight} under way, ${ring.usedCount()} of them used ` +
      `(a call was lost if there are any, else a kick)`
    );
  }
}

/** Do `count` requests on a connection's first queue. Throws if a wake-up is lost. */
export async function runSleepyLoad(
  connection: DriverConnection,
  count: number,
  seed: number,
): Promise<LoadResult> {
  const queue = connection.queues[0];
  const eventIdx = (connection.features & (1n << BigInt(RingFeature.EVENT_IDX))) !== 0n;
  const loop = new SleepyLoop(connection, queue, seed);
  const watchdog = await Watchdog.start(queue.call.number);
  try {
    loop.run(count, eventIdx, watchdog);
  } finally {
    await watchdog.stop();
  }
  return { requests: count, sleeps: loop.sleeps, kicks: loop.kicks };
}
