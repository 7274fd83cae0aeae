/**
 * A front-end without a virtual machine: connects to a back-end, shares memory and starts rings, as
 * QEMU does for a guest's driver.
 */
import { createEventFd, type Fd } from '../sys/index.ts';
import {
  F_LOG_ALL,
  Frontend,
  type FrontendOptions,
  type FrontendSession,
} from '../vhost-user/index.ts';
import {
  firstBase,
  RingFeature,
  type RingFormat,
  type RingMemory,
  ringBytes,
  ringFormat,
} from '../virtqueue/index.ts';
import { type GuestBuffer, GuestRam } from './guest-ram.ts';

export interface DriverConnectionOptions extends FrontendOptions {
  /** Rings to start. Default: 1. */
  readonly numQueues?: number;
  /** Size of each, of split rings a power of two. Default: 128. */
  readonly queueSize?: number;
  /** Packed rings, if the back-end offers them. Default: split ones. */
  readonly packed?: boolean;
  /** Rings without kicks and calls: both sides look for themselves. */
  readonly polled?: boolean;
  /**
   * Called when all is negotiated, and before rings start. Default: read the configuration space, as
   * a driver does that begins.
   */
  readonly prepare?: (frontend: Frontend) => Promise<unknown>;
  /** Guest memory; the connection closes it. Default: 64 MiB in one region. */
  readonly ram?: GuestRam;
}

/** A started ring, seen by its driver. */
export interface DriverQueue {
  readonly index: number;
  readonly memory: RingMemory;
  readonly descriptors: GuestBuffer;
  readonly available: GuestBuffer;
  readonly used: GuestBuffer;
  /** To signal when the device wants to know; blocking. */
  readonly kick: Fd;
  /** Signalled by the device; blocking. */
  readonly call: Fd;
  readonly err: Fd;
}

const PART_ALIGNMENT = 4096;
const PACKED = 1n << BigInt(RingFeature.RING_PACKED);
/** But for the log of live migration, which is a VMM's to begin. */
const ALL_FEATURES = (2n ** 64n - 1n) & ~(1n << BigInt(F_LOG_ALL));
/** Of `struct virtio_blk_config`, what has been there since virtio 1.1. */
const COMMON_CONFIG_BYTES = 60;

/** See the module's comment. */
export class DriverConnection {
  readonly frontend: Frontend;
  readonly ram: GuestRam;
  readonly queues: readonly DriverQueue[];

  /** Connect and start. Throws a `ProtocolError` or `SystemError` if the back-end does not. */
  static async open(options: DriverConnectionOptions): Promise<DriverConnection> {
    const wanted = options.features ?? ALL_FEATURES;
    const features = options.packed ? wanted : wanted & ~PACKED;
    const frontend = await Frontend.connect({ ...options, features });
    const ram = options.ram ?? new GuestRam();
    try {
      await frontend.addRegions(ram.regions.map((region) => ({ ...region, mmapOffset: 0 })));
      const format = ringFormat(frontend.features);
      const queues: DriverQueue[] = [];
      for (let index = 0; index < (options.numQueues ?? 1); index++) {
        const queue = makeQueue(ram, index, options.queueSize ?? 128, format);
        queues.push(queue);
      }
      const connection = new DriverConnection(frontend, ram, queues);
      await (options.prepare ?? readConfiguration)(frontend);
      const base = firstBase(format);
      for (const queue of queues) await connection.startQueue(queue.index, base, options.polled);
      return connection;
    } catch (error) {
      frontend.close();
      ram[Symbol.dispose]();
      throw error;
    }
  }

  constructor(frontend: Frontend, ram: GuestRam, queues: readonly DriverQueue[]) {
    this.frontend = frontend;
    this.ram = ram;
    this.queues = queues;
  }

  get session(): FrontendSession {
    return this.frontend.session;
  }

  /** Negotiated virtio features. */
  get features(): bigint {
    return this.frontend.features;
  }

  /** Queues the back-end has. */
  get maxQueues(): number {
    return this.frontend.maxQueues;
  }

  /**
   * The device's configuration space, up to the fields of WRITE_ZEROES: back-ends that do not know
   * later ones refuse to be asked for more.
   */
  async readConfig(): Promise<DataView> {
    const bytes = await readConfiguration(this.frontend);
    return new DataView(bytes.buffer, bytes.byteOffset);
  }

  /** Start a ring (again) from a base on: the first one, or what `stopQueue` returned. */
  async startQueue(index: number, base: number, isPolled = false): Promise<void> {
    const { memory, descriptors, available, used, kick, call, err } = this.queues[index];
    await this.frontend.startRing({
      ...{ index, base, isPolled, size: memory.size, kick, call, err },
      descriptor: descriptors.userAddress,
      available: available.userAddress,
      used: used.userAddress,
    });
  }

  /** Stop a ring as a front-end does. Returns the base to start it from again. */
  stopQueue(index: number): Promise<number> {
    return this.frontend.stopRing(index);
  }

  /** Hang up and let everything go. */
  close(): void {
    this.frontend.close();
    for (const { kick, call, err } of this.queues) {
      kick[Symbol.dispose]();
      call[Symbol.dispose]();
      err[Symbol.dispose]();
    }
    this.ram[Symbol.dispose]();
  }
}

function readConfiguration(frontend: Frontend): Promise<Uint8Array> {
  return frontend.readConfig(0, COMMON_CONFIG_BYTES);
}

function makeQueue(ram: GuestRam, index: number, size: number, format: RingFormat): DriverQueue {
  const bytes = ringBytes(size, format);
  const descriptors = ram.allocate(bytes.descriptors, PART_ALIGNMENT);
  const available = ram.allocate(bytes.available, PART_ALIGNMENT);
  const used = ram.allocate(bytes.used, PART_ALIGNMENT);
  return {
    index,
    memory: {
      size,
      descriptors: descriptors.bytes.buffer as ArrayBuffer,
      available: available.bytes.buffer as ArrayBuffer,
      used: used.bytes.buffer as ArrayBuffer,
    },
    descriptors,
    available,
    used,
    kick: createEventFd({ blocking: true }),
    call: createEventFd({ blocking: true }),
    err: createEventFd(),
  };
}
