/** A block queue and its driver in one thread: chains go in, answers come out. */
import assert from 'node:assert/strict';
import { GuestMemory } from '../../src/memory/index.ts';
import {
  type Disk,
  type DiskChannel,
  type DiskInfo,
  type DiskRequestHandler,
  type DiskRequests,
  NullDisk,
} from '../../src/storage/index.ts';
import { createEventFd, drainEvent, type Fd, type Reactor } from '../../src/sys/index.ts';
import { GuestRam } from '../../src/testing/index.ts';
import {
  BlockQueue,
  BlockRequests,
  type CounterValues,
  counterRow,
  createCounters,
  DeviceState,
  hasFeature,
  readCounters,
} from '../../src/virtio-blk/index.ts';
import {
  createDeviceRing,
  createDriverRing,
  type DeviceRing,
  type DriverRing,
  firstBase,
  type InflightMemory,
  RingFeature,
  type RingMemory,
  ringFormat,
} from '../../src/virtqueue/index.ts';
import { type ChainPiece, headerBytes, joinBytes, pushChain } from './block-chains.ts';
import { ALL_FEATURES } from './parser-bench.ts';
import { createRingMemory } from './ring-pair.ts';

const RAM_START = 0x8000_0000;
const RAM_BYTES = 16 * 2 ** 20;
/** What is in room and status byte before the device writes there. */
export const UNTOUCHED = 0xee;

export const NULL_DISK: DiskInfo = {
  sizeBytes: 2 ** 30,
  readOnly: false,
  logicalBlockBytes: 512,
  physicalBlockBytes: 512,
  minIoBytes: 0,
  optimalIoBytes: 0,
  canDiscard: true,
  canWriteZeroes: true,
  writeBack: true,
};

export interface ServedQueueOptions {
  /** Default: a null disk. */
  readonly disk?: Disk;
  /** Default: the disk's own channel. */
  readonly openChannel?: (requests: DiskRequests, handler: DiskRequestHandler) => DiskChannel;
  /** For disks that need one. */
  readonly reactor?: Reactor;
  readonly features?: bigint;
  readonly size?: number;
  readonly slots?: number;
  readonly isPolled?: boolean;
  readonly onBroken?: (reason: string) => void;
  /** Where to write down what is under way. */
  readonly inflight?: InflightMemory;
}

/** A request as the driver sends it. */
export interface Sent {
  readonly type: number;
  readonly sector?: number;
  readonly payload?: Uint8Array;
  readonly room?: number;
}

/** An answer as the driver sees it. */
export interface Answer {
  readonly head: number;
  readonly status: number;
  readonly usedLength: number;
  readonly room: Uint8Array;
}

/** See the module's comment. */
export class ServedQueue implements Disposable {
  readonly queue: BlockQueue;
  readonly driver: DriverRing;
  readonly ring: DeviceRing;
  readonly ringMemory: RingMemory;
  readonly state: DeviceState = new DeviceState();
  readonly requests: BlockRequests;
  readonly broken: string[] = [];
  readonly ram: GuestRam = new GuestRam([{ guestAddress: RAM_START, sizeBytes: RAM_BYTES }]);
  readonly memory: GuestMemory = new GuestMemory(this.ram.regions);
  readonly #counters = createCounters(1);
  readonly #call: Fd = createEventFd();
  readonly #err: Fd = createEventFd();
  readonly #sent = new Map<number, Uint8Array>();
  #usedBytes = 0;

  constructor(options: ServedQueueOptions = {}) {
    const { disk = new NullDisk(NULL_DISK), features = ALL_FEATURES, size = 64 } = options;
    const format = ringFormat(features);
    const ringMemory = createRingMemory(size, format);
    this.ringMemory = ringMemory;
    const eventIdx = hasFeature(features, RingFeature.EVENT_IDX);
    this.driver = createDriverRing(format, ringMemory, { eventIdx });
    this.ring = createDeviceRing(format, ringMemory, eventIdx, firstBase(format), options.inflight);
    this.requests = new BlockRequests(options.slots ?? size);
    this.state.capacitySectors = disk.info.sizeBytes / 512;
    this.state.writeback = disk.info.writeBack;
    const { readOnly, logicalBlockBytes } = disk.info;
    this.queue = new BlockQueue({
      ring: this.ring,
      memory: this.memory,
      requests: this.requests,
      rules: { features, readOnly, logicalBlockBytes, serial: 'served' },
      state: this.state,
      counters: counterRow(this.#counters, 0),
      isPolled: options.isPolled ?? false,
      openChannel: (handler) =>
        options.openChannel?.(this.requests.disk, handler) ??
        // Disks without I/O have no use for a reactor.
        disk.openChannel(options.reactor as Reactor, this.requests.disk, handler),
      onBroken: (reason) => {
        this.broken.push(reason);
        options.onBroken?.(reason);
      },
    });
    this.queue.callFd = this.#call.number;
    this.queue.errFd = this.#err.number;
    // A new call descriptor is signalled in any case.
    this.queue.poll();
    drainEvent(this.#call.number);
  }

  /** Put a request on the ring, without showing it. Returns its head. */
  add(sent: Sent): number {
    const readable = joinBytes(
      headerBytes(sent.type, sent.sector),
      sent.payload ?? new Uint8Array(0),
    );
    const start = this.#take(readable.length + (sent.room ?? 0) + 1);
    start.bytes.set(readable);
    const writable = start.bytes.subarray(readable.length).fill(UNTOUCHED);
    const { address } = start;
    const head = this.addPieces([
      { address, length: readable.length, isWritable: false },
      { address: address + readable.length, length: writable.length, isWritable: true },
    ]);
    this.#sent.set(head, writable);
    return head;
  }

  /** Put a chain of any kind on the ring, without showing it. */
  addPieces(pieces: readonly ChainPiece[]): number {
    return pushChain(this.driver, pieces);
  }

  /** Show requests and let the queue look once. */
  send(...requests: readonly Sent[]): void {
    for (const request of requests) this.add(request);
    this.driver.publish();
    this.queue.poll();
  }

  /** Send one request, which is answered at once. */
  ask(request: Sent): Answer {
    this.send(request);
    const answers = this.answers();
    assert.equal(answers.length, 1);
    return answers[0];
  }

  /** Take all answers there are. */
  answers(): Answer[] {
    const answers: Answer[] = [];
    while (this.driver.usedCount() > 0) {
      const head = this.driver.takeUsed();
      assert.ok(head >= 0, 'the used entry makes sense');
      const writable = this.#sent.get(head) ?? new Uint8Array(1);
      answers.push({
        head,
        status: writable[writable.length - 1],
        usedLength: this.driver.usedLength,
        room: writable.slice(0, -1),
      });
    }
    return answers;
  }

  /** Times the driver was called, and told of an error, since last asked. */
  takeCalls(): number {
    return drainEvent(this.#call.number);
  }

  takeErrors(): number {
    return drainEvent(this.#err.number);
  }

  /** Counters that are not 0. */
  counted(): Partial<CounterValues> {
    const all = Object.entries(readCounters(this.#counters));
    return Object.fromEntries(all.filter(([, value]) => value !== 0));
  }

  #take(bytes: number): { address: number; bytes: Uint8Array } {
    if (this.#usedBytes + bytes > RAM_BYTES) this.#usedBytes = 0;
    const { guestAddress, bytes: view } = this.ram.at(0, this.#usedBytes, bytes);
    this.#usedBytes += bytes;
    return { address: guestAddress, bytes: view };
  }

  [Symbol.dispose](): void {
    this.requests[Symbol.dispose]();
    this.#call.close();
    this.#err.close();
    this.ram[Symbol.dispose]();
  }
}
