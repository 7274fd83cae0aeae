/**
 * A front-end without a virtual machine: connects to a back-end, negotiates, shares memory and
 * starts rings, as QEMU does for a guest's driver.
 */
import {
  connectUnix,
  createEventFd,
  type Fd,
  type Logger,
  type Reactor,
  silentLogger,
} from '../sys/index.ts';
import {
  BACKEND_PROTOCOL_FEATURES,
  F_PROTOCOL_FEATURES,
  FrontendSession,
  hasProtocolFeature,
} from '../vhost-user/index.ts';
import { ringBytes, type SplitRingMemory } from '../virtqueue/index.ts';
import { type GuestBuffer, GuestRam } from './guest-ram.ts';

export interface DriverConnectionOptions {
  readonly reactor: Reactor;
  readonly socketPath: string;
  /** Rings to start. Default: 1. */
  readonly numQueues?: number;
  /** Size of each, a power of two. Default: 128. */
  readonly queueSize?: number;
  /** Virtio features to accept of those offered. Default: all. */
  readonly features?: bigint;
  /**
   * Protocol features to accept of those offered; default: all this side knows.
   * `NO_PROTOCOL_FEATURES`: do without VHOST_USER_F_PROTOCOL_FEATURES altogether.
   */
  readonly protocolFeatures?: bigint | typeof NO_PROTOCOL_FEATURES;
  /** Rings without kicks and calls: both sides look for themselves. */
  readonly polled?: boolean;
  /** Guest memory; the connection closes it. Default: 64 MiB in one region. */
  readonly ram?: GuestRam;
  readonly logger?: Logger;
}

/** A started ring, seen by its driver. */
export interface DriverQueue {
  readonly index: number;
  readonly memory: SplitRingMemory;
  readonly descriptors: GuestBuffer;
  readonly available: GuestBuffer;
  readonly used: GuestBuffer;
  /** To signal when the device wants to know; blocking. */
  readonly kick: Fd;
  /** Signalled by the device; blocking. */
  readonly call: Fd;
  readonly err: Fd;
}

const PROTOCOL_BIT = 1n << BigInt(F_PROTOCOL_FEATURES);
const RING_ALIGNMENT = 4096;
/** Of `struct virtio_blk_config`, what has been there since virtio 1.1. */
const COMMON_CONFIG_BYTES = 60;

/** See `DriverConnectionOptions.protocolFeatures`. */
export const NO_PROTOCOL_FEATURES: unique symbol = Symbol('no protocol features');

/** See the module's comment. */
export class DriverConnection {
  readonly session: FrontendSession;
  readonly ram: GuestRam;
  /** Negotiated virtio features. */
  readonly features: bigint;
  readonly queues: readonly DriverQueue[];
  /** Queues the back-end has. */
  readonly maxQueues: number;

  /** Connect and start. Throws a `ProtocolError` or `SystemError` if the back-end does not. */
  static async open(options: DriverConnectionOptions): Promise<DriverConnection> {
    const { reactor, socketPath, logger = silentLogger } = options;
    const session = new FrontendSession({ reactor, socket: connectUnix(socketPath), logger });
    const ram = options.ram ?? new GuestRam();
    try {
      return await start(session, ram, options);
    } catch (error) {
      session.close();
      ram[Symbol.dispose]();
      throw error;
    }
  }

  constructor(
    session: FrontendSession,
    ram: GuestRam,
    features: bigint,
    queues: readonly DriverQueue[],
    maxQueues: number,
  ) {
    this.session = session;
    this.ram = ram;
    this.features = features;
    this.queues = queues;
    this.maxQueues = maxQueues;
  }

  /**
   * The device's configuration space, up to the fields of WRITE_ZEROES: back-ends that do not know
   * later ones refuse to be asked for more.
   */
  async readConfig(): Promise<DataView> {
    const size = COMMON_CONFIG_BYTES;
    const request = { offset: 0, size, flags: 0, bytes: new Uint8Array(size) };
    const reply = await this.session.request('GET_CONFIG', request);
    return new DataView(reply.bytes.buffer);
  }

  /** Stop a ring as a front-end does. Returns the first available entry the device has not taken. */
  async stopQueue(index: number): Promise<number> {
    const reply = await this.session.request('GET_VRING_BASE', { index, num: 0 });
    return reply.num;
  }

  /** Hang up and let everything go. */
  close(): void {
    this.session.close();
    for (const { kick, call, err } of this.queues) {
      kick[Symbol.dispose]();
      call[Symbol.dispose]();
      err[Symbol.dispose]();
    }
    this.ram[Symbol.dispose]();
  }
}

async function start(
  session: FrontendSession,
  ram: GuestRam,
  options: DriverConnectionOptions,
): Promise<DriverConnection> {
  const offered = (await session.request('GET_FEATURES', null)).value;
  const wantsProtocol = options.protocolFeatures !== NO_PROTOCOL_FEATURES;
  session.hasProtocolFeatures = wantsProtocol && (offered & PROTOCOL_BIT) !== 0n;
  if (session.hasProtocolFeatures) await negotiateProtocol(session, options);
  const virtioFeatures = offered & (options.features ?? offered) & ~PROTOCOL_BIT;
  const features = virtioFeatures | (session.hasProtocolFeatures ? PROTOCOL_BIT : 0n);
  await session.request('SET_OWNER', null);
  await session.request('SET_FEATURES', { value: features });
  await shareMemory(session, ram);
  const hasCount = hasProtocolFeature(session.protocolFeatures, 'MQ');
  const maxQueues = hasCount ? Number((await session.request('GET_QUEUE_NUM', null)).value) : 1;
  const queues: DriverQueue[] = [];
  for (let index = 0; index < (options.numQueues ?? 1); index++) {
    queues.push(await startQueue(session, ram, index, options));
  }
  return new DriverConnection(session, ram, features, queues, maxQueues);
}

async function negotiateProtocol(
  session: FrontendSession,
  options: DriverConnectionOptions,
): Promise<void> {
  const offered = (await session.request('GET_PROTOCOL_FEATURES', null)).value;
  const asked = options.protocolFeatures;
  const wanted = typeof asked === 'bigint' ? asked : BACKEND_PROTOCOL_FEATURES;
  // Not acknowledged itself: only from here on are acknowledgements in force.
  await session.request('SET_PROTOCOL_FEATURES', { value: offered & wanted });
  session.protocolFeatures = offered & wanted;
}

async function shareMemory(session: FrontendSession, ram: GuestRam): Promise<void> {
  const regions = ram.regions.map(({ guestAddress, sizeBytes, userAddress }) => ({
    guestAddress,
    sizeBytes,
    userAddress,
    mmapOffset: 0,
  }));
  if (hasProtocolFeature(session.protocolFeatures, 'CONFIGURE_MEM_SLOTS')) {
    for (const [index, region] of regions.entries()) {
      await session.request('ADD_MEM_REG', { padding: 0, ...region }, [ram.regions[index].fd]);
    }
  } else {
    await session.request(
      'SET_MEM_TABLE',
      regions,
      ram.regions.map(({ fd }) => fd),
    );
  }
}

async function startQueue(
  session: FrontendSession,
  ram: GuestRam,
  index: number,
  options: DriverConnectionOptions,
): Promise<DriverQueue> {
  const size = options.queueSize ?? 128;
  const bytes = ringBytes(size);
  const descriptors = ram.allocate(bytes.descriptors, RING_ALIGNMENT);
  const available = ram.allocate(bytes.available, RING_ALIGNMENT);
  const used = ram.allocate(bytes.used, RING_ALIGNMENT);
  const queue: DriverQueue = {
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
  await wireQueue(session, queue, 0, options.polled ?? false);
  return queue;
}

/** Send everything that makes a back-end run a ring from entry `base` on. */
export async function wireQueue(
  session: FrontendSession,
  queue: DriverQueue,
  base: number,
  polled: boolean,
): Promise<void> {
  const { index } = queue;
  await session.request('SET_VRING_NUM', { index, num: queue.memory.size });
  await session.request('SET_VRING_BASE', { index, num: base });
  await session.request('SET_VRING_ADDR', {
    index,
    flags: 0,
    descriptor: queue.descriptors.userAddress,
    used: queue.used.userAddress,
    available: queue.available.userAddress,
    log: 0n,
  });
  const value = BigInt(index) | (polled ? 1n << 8n : 0n);
  const fds = (fd: Fd): Fd[] => (polled ? [] : [fd]);
  await session.request('SET_VRING_CALL', { value }, fds(queue.call));
  await session.request('SET_VRING_ERR', { value: BigInt(index) }, [queue.err]);
  await session.request('SET_VRING_KICK', { value }, fds(queue.kick));
  // Without the protocol's features, a ring is enabled from the start.
  if (session.hasProtocolFeatures) await session.request('SET_VRING_ENABLE', { index, num: 1 });
}
