/**
 * A front-end: negotiates with a back-end, shares memory with it, and starts and stops its rings.
 * What VMMs do for their guests, and drivers without a VMM for themselves.
 */
import { connectUnix, type Fd, type Logger, type Reactor, silentLogger } from '../sys/index.ts';
import { BACKEND_PROTOCOL_FEATURES } from './backend-features.ts';
import { ProtocolError } from './errors.ts';
import { FrontendSession } from './frontend-session.ts';
import { MAX_CONFIG_BYTES, MAX_TABLE_REGIONS, type RequestOf } from './messages.ts';
import {
  F_LOG_ALL,
  F_PROTOCOL_FEATURES,
  hasProtocolFeature,
  protocolFeatureSet,
} from './protocol-features.ts';

const PROTOCOL_BIT = 1n << BigInt(F_PROTOCOL_FEATURES);
const LOG_ALL_BIT = 1n << BigInt(F_LOG_ALL);

/**
 * Those that are accepted where they are offered. Not GET_VRING_BASE_INFLIGHT: a ring that is
 * stopped should be finished, unless somebody carries the log to where it goes on.
 */
const FRONTEND_PROTOCOL_FEATURES =
  BACKEND_PROTOCOL_FEATURES & ~protocolFeatureSet(['GET_VRING_BASE_INFLIGHT']);

/** As protocol features: do without VHOST_USER_F_PROTOCOL_FEATURES altogether. */
export const NO_PROTOCOL_FEATURES: unique symbol = Symbol('no protocol features');

export interface FrontendOptions {
  readonly reactor: Reactor;
  readonly socketPath: string;
  /** Virtio features to accept of those offered. Default: all, but no log is wanted at first. */
  readonly features?: bigint;
  /** Protocol features to accept of those offered. Default: all this side makes use of. */
  readonly protocolFeatures?: bigint | typeof NO_PROTOCOL_FEATURES;
  /** Longest wait for an answer, in milliseconds. Default: 10 s. */
  readonly timeoutMs?: number;
  readonly logger?: Logger;
  /** Hangs up when it is aborted, while negotiating or later. */
  readonly signal?: AbortSignal;
}

/** Memory to share with the back-end. Addresses are what descriptors and ring addresses refer to. */
export interface SharedRegion {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly sizeBytes: number;
  readonly mmapOffset: number;
  readonly fd: Fd;
}

/** A ring to start. Addresses are user addresses; eventfds stay the caller's. */
export interface RingPlan {
  readonly index: number;
  readonly size: number;
  readonly descriptor: number;
  readonly available: number;
  readonly used: number;
  readonly kick: Fd;
  readonly call: Fd;
  readonly err: Fd;
  /** Where the back-end begins: see `firstBase`, or what `stopRing` returned. */
  readonly base: number;
}

/** Where a back-end writes down what is under way. */
export interface InflightMemory {
  readonly description: RequestOf<'SET_INFLIGHT_FD'>;
  readonly fd: Fd;
}

/** See the module's comment. */
export class Frontend {
  readonly session: FrontendSession;
  /** Negotiated virtio features. */
  readonly features: bigint;
  /** Queues the back-end has. */
  readonly maxQueues: number;
  /** Regions the back-end takes. */
  readonly maxRegions: number;
  readonly #regions: SharedRegion[] = [];

  /**
   * Connect and negotiate.
   *
   * @throws SystemError if there is no such socket; ProtocolError if the back-end does not answer,
   * refuses, or answers nonsense.
   */
  static async connect(options: FrontendOptions): Promise<Frontend> {
    const { reactor, socketPath, logger = silentLogger, timeoutMs, signal } = options;
    const session = new FrontendSession({
      reactor,
      socket: connectUnix(socketPath),
      logger,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    signal?.addEventListener('abort', () => session.close(), { once: true });
    try {
      return await negotiate(session, options);
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** For `connect`. */
  constructor(session: FrontendSession, features: bigint, maxQueues: number, maxRegions: number) {
    this.session = session;
    this.features = features;
    this.maxQueues = maxQueues;
    this.maxRegions = maxRegions;
  }

  get #hasSlots(): boolean {
    return hasProtocolFeature(this.session.protocolFeatures, 'CONFIGURE_MEM_SLOTS');
  }

  /** Share regions, beside those that are shared already. */
  async addRegions(regions: readonly SharedRegion[]): Promise<void> {
    if (!this.#hasSlots) {
      await this.#replaceTable([...this.#regions, ...regions]);
      return;
    }
    for (const region of regions) {
      await this.session.request('ADD_MEM_REG', { padding: 0, ...describe(region) }, [region.fd]);
      this.#regions.push(region);
    }
  }

  /** Share a region no more. */
  async removeRegion(region: SharedRegion): Promise<void> {
    const rest = this.#regions.filter((other) => other !== region);
    if (!this.#hasSlots) {
      await this.#replaceTable(rest);
      return;
    }
    await this.session.request('REM_MEM_REG', { padding: 0, ...describe(region) });
    this.#regions.splice(0, this.#regions.length, ...rest);
  }

  async #replaceTable(regions: readonly SharedRegion[]): Promise<void> {
    const fds = regions.map(({ fd }) => fd);
    await this.session.request('SET_MEM_TABLE', regions.map(describe), fds);
    this.#regions.splice(0, this.#regions.length, ...regions);
  }

  /** Part of the configuration space. */
  async readConfig(offset: number, sizeBytes: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(sizeBytes);
    const request = { offset, size: sizeBytes, flags: 0, bytes };
    const reply = await this.session.request('GET_CONFIG', request);
    if (reply.bytes.length === sizeBytes) return reply.bytes;
    const text = `${sizeBytes} bytes of configuration were asked for, ${reply.bytes.length} came`;
    throw new ProtocolError('BAD_PAYLOAD', text);
  }

  /** Change part of the configuration space, as a driver does. */
  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    if (bytes.length > MAX_CONFIG_BYTES) {
      throw new ProtocolError('BAD_CONFIG', `${bytes.length} bytes of configuration`);
    }
    await this.session.request('SET_CONFIG', { offset, size: bytes.length, flags: 0, bytes });
  }

  /** Whether the back-end writes down what is under way, in memory that this side keeps. */
  get tracksInflight(): boolean {
    return hasProtocolFeature(this.session.protocolFeatures, 'INFLIGHT_SHMFD');
  }

  /** Memory for that, of the back-end's making. The descriptor is the caller's. */
  async getInflight(numQueues: number, queueSize: number): Promise<InflightMemory> {
    const shape = { mmapSize: 0, mmapOffset: 0, numQueues, queueSize, padding: 0 };
    const { reply, fd } = await this.session.requestDescriptor('GET_INFLIGHT_FD', shape);
    return { description: reply, fd };
  }

  /** Have the back-end use such memory, its own or that of an earlier one. No ring is started. */
  async setInflight({ description, fd }: InflightMemory): Promise<void> {
    await this.session.request('SET_INFLIGHT_FD', description, [fd]);
  }

  /** Send everything that makes the back-end run a ring. */
  async startRing(ring: RingPlan): Promise<void> {
    const { session } = this;
    const { index, size, base, descriptor, used, available } = ring;
    await session.request('SET_VRING_NUM', { index, num: size });
    await session.request('SET_VRING_BASE', { index, num: base });
    const addresses = { descriptor, used, available, log: 0n };
    await session.request('SET_VRING_ADDR', { index, flags: 0, ...addresses });
    const value = BigInt(index);
    await session.request('SET_VRING_CALL', { value }, [ring.call]);
    await session.request('SET_VRING_ERR', { value }, [ring.err]);
    await session.request('SET_VRING_KICK', { value }, [ring.kick]);
    // Without the protocol's features, a ring is enabled from the start.
    if (session.hasProtocolFeatures) await session.request('SET_VRING_ENABLE', { index, num: 1 });
  }

  /** Stop a ring. Returns the base to start it from again. */
  async stopRing(index: number): Promise<number> {
    return (await this.session.request('GET_VRING_BASE', { index, num: 0 })).num;
  }

  /** Hang up. */
  close(): void {
    this.session.close();
  }
}

function describe({ guestAddress, sizeBytes, userAddress, mmapOffset }: SharedRegion) {
  return { guestAddress, sizeBytes, userAddress, mmapOffset };
}

async function negotiate(session: FrontendSession, options: FrontendOptions): Promise<Frontend> {
  const offered = (await session.request('GET_FEATURES', null)).value;
  const wantsProtocol = options.protocolFeatures !== NO_PROTOCOL_FEATURES;
  session.hasProtocolFeatures = wantsProtocol && (offered & PROTOCOL_BIT) !== 0n;
  if (session.hasProtocolFeatures) await negotiateProtocol(session, options);
  const virtioFeatures = offered & (options.features ?? ~LOG_ALL_BIT) & ~PROTOCOL_BIT;
  const features = virtioFeatures | (session.hasProtocolFeatures ? PROTOCOL_BIT : 0n);
  await session.request('SET_OWNER', null);
  await session.request('SET_FEATURES', { value: features });
  const has = (name: 'MQ' | 'CONFIGURE_MEM_SLOTS'): boolean =>
    hasProtocolFeature(session.protocolFeatures, name);
  const maxQueues = has('MQ') ? Number((await session.request('GET_QUEUE_NUM', null)).value) : 1;
  const maxRegions = has('CONFIGURE_MEM_SLOTS')
    ? Number((await session.request('GET_MAX_MEM_SLOTS', null)).value)
    : MAX_TABLE_REGIONS;
  return new Frontend(session, features, maxQueues, maxRegions);
}

async function negotiateProtocol(
  session: FrontendSession,
  options: FrontendOptions,
): Promise<void> {
  const offered = (await session.request('GET_PROTOCOL_FEATURES', null)).value;
  const asked = options.protocolFeatures;
  const wanted = typeof asked === 'bigint' ? asked : FRONTEND_PROTOCOL_FEATURES;
  // Not acknowledged itself: only from here on are acknowledgements in force.
  await session.request('SET_PROTOCOL_FEATURES', { value: offered & wanted });
  session.protocolFeatures = offered & wanted;
}
