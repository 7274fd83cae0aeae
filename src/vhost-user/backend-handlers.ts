/**
 * What each front-end message does to a session: one handler a message. The session has checked
 * that the message may come now, its size and its number of descriptors.
 *
 * Handlers take the descriptors they keep out of the list they are given; the session closes the
 * rest, and those that it sends with the reply.
 */
import { type Fd, type Logger, type Reactor, socketKind } from '../sys/index.ts';
import { BackendChannel } from './backend-channel.ts';
import type { BackendDevice } from './backend-device.ts';
import { BACKEND_PROTOCOL_FEATURES, checkProtocolFeatures } from './backend-features.ts';
import { ProtocolError } from './errors.ts';
import { createInflightArea, InflightArea } from './inflight-area.ts';
import { MAX_MEMORY_SLOTS, MemoryTable } from './memory-table.ts';
import {
  CONFIG_FLAG_MIGRATION,
  type FrontendMessageName,
  MAX_CONFIG_BYTES,
  type RegionDescription,
  type ReplyOf,
  type RequestOf,
} from './messages.ts';
import { F_LOG_ALL, F_PROTOCOL_FEATURES, protocolFeatureNames } from './protocol-features.ts';
import { SessionLog } from './session-log.ts';
import { SessionRings, type SessionSettings } from './session-rings.ts';

const PROTOCOL_FEATURES_BIT = 1n << BigInt(F_PROTOCOL_FEATURES);
const LOG_ALL_BIT = 1n << BigInt(F_LOG_ALL);

type Handler<Name extends FrontendMessageName> = (
  request: RequestOf<Name>,
  fds: Fd[],
  replyFds: Fd[],
) => Promise<ReplyOf<Name>> | ReplyOf<Name> | Promise<void> | void;

type HandlerTable = { readonly [Name in FrontendMessageName]?: Handler<Name> };

async function settled(promise: Promise<void>): Promise<PromiseSettledResult<void>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
}

/** A handler with its types forgotten. */
export type AnyHandler = (request: unknown, fds: Fd[], replyFds: Fd[]) => unknown;

/** See the module's comment. */
export class BackendHandlers {
  readonly #device: BackendDevice;
  readonly #reactor: Reactor;
  readonly #logger: Logger;
  readonly #settings: SessionSettings;
  readonly #rings: SessionRings;
  #status = 0n;
  #backendChannel: BackendChannel | undefined;

  constructor(device: BackendDevice, reactor: Reactor, logger: Logger) {
    this.#device = device;
    this.#reactor = reactor;
    this.#logger = logger;
    this.#settings = {
      features: undefined,
      protocolFeatures: 0n,
      inflight: undefined,
      memory: new MemoryTable(),
      log: new SessionLog(device),
    };
    this.#rings = new SessionRings(device, logger, this.#settings);
  }

  /** Negotiated protocol features. */
  get protocolFeatures(): bigint {
    return this.#settings.protocolFeatures;
  }

  /** Whether VHOST_USER_F_PROTOCOL_FEATURES was negotiated. */
  get hasProtocolFeatures(): boolean {
    return ((this.#settings.features ?? 0n) & PROTOCOL_FEATURES_BIT) !== 0n;
  }

  /** The states of all rings, for log lines. */
  get ringStates(): string {
    return this.#rings.states;
  }

  /** The handler of a message, if the session knows it. */
  handler(name: FrontendMessageName): AnyHandler | undefined {
    return this.#table[name] as AnyHandler | undefined;
  }

  /** Tell the front-end that the configuration space has changed, if it listens. */
  notifyConfigChange(): void {
    this.#backendChannel?.sendConfigChange();
  }

  /**
   * The connection has ended: finish what is under way, and let everything go, though the device
   * may have failed: then it rejects in the end.
   */
  async close(): Promise<void> {
    const { memory, log, inflight } = this.#settings;
    const results = [
      await settled(this.#rings.haltAll('reset')),
      await settled(this.#device.setMemory([])),
      await settled(log.close()),
    ];
    memory.commit([]);
    this.#rings.close();
    this.#backendChannel?.close();
    inflight?.close();
    const failed = results.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  readonly #table: HandlerTable = {
    GET_FEATURES: () => ({ value: this.#offeredFeatures }),
    SET_FEATURES: (request) => this.#setFeatures(request.value),
    SET_OWNER: () => {},
    // Deprecated: rings go quiet, the connection and what was set up stay (vhost-user.rst).
    RESET_OWNER: () => this.#rings.haltAll('disable'),
    SET_MEM_TABLE: (request, fds) => this.#changeMemory((memory) => memory.replace(request, fds)),
    SET_LOG_BASE: async (request, fds) => {
      await this.#settings.log.setBase(request, fds[0], this.#settings.memory.regions);
      // The value says nothing; libvhost-user has none but 0, and QEMU reads none.
      return { value: 0n };
    },
    SET_LOG_FD: (_request, fds) => this.#setLogFd(fds),
    SET_VRING_NUM: (request) => this.#rings.setSize(request),
    SET_VRING_ADDR: (request) => this.#rings.setAddresses(request),
    SET_VRING_BASE: (request) => this.#rings.setBase(request),
    GET_VRING_BASE: async ({ index }) => ({ index, num: await this.#rings.stop(index) }),
    SET_VRING_KICK: (request, fds) => this.#rings.setKick(request.value, fds),
    SET_VRING_CALL: (request, fds) => this.#rings.setSignal('call', request.value, fds),
    SET_VRING_ERR: (request, fds) => this.#rings.setSignal('err', request.value, fds),
    GET_PROTOCOL_FEATURES: () => ({ value: BACKEND_PROTOCOL_FEATURES }),
    SET_PROTOCOL_FEATURES: (request) => {
      checkProtocolFeatures(request.value);
      this.#settings.protocolFeatures = request.value;
      this.#logger.debug(`protocol features: ${protocolFeatureNames(request.value).join(', ')}`);
    },
    GET_QUEUE_NUM: () => ({ value: BigInt(this.#device.numQueues) }),
    SET_VRING_ENABLE: (request) => {
      if (request.num > 1) throw new ProtocolError('BAD_PAYLOAD', `enable is ${request.num}`);
      return this.#rings.enable(request.index, request.num === 1);
    },
    SET_BACKEND_REQ_FD: (_request, fds) => this.#openBackendChannel(fds),
    GET_CONFIG: (request) => {
      const { offset, size, flags } = request;
      if (offset + size > MAX_CONFIG_BYTES) {
        throw new ProtocolError('BAD_CONFIG', `configuration bytes ${offset} to ${offset + size}`);
      }
      return { offset, size, flags, bytes: this.#device.readConfig(offset, size) };
    },
    SET_CONFIG: (request) => {
      const isMigration = request.flags === CONFIG_FLAG_MIGRATION;
      if (this.#device.writeConfig(request.offset, request.bytes, isMigration)) {
        return this.#settings.inflight?.keep(this.#device.keptByte);
      }
      const what = `${request.size} bytes at ${request.offset}, flags ${request.flags}`;
      throw new ProtocolError('BAD_CONFIG', `the configuration cannot be written so: ${what}`);
    },
    GET_INFLIGHT_FD: (request, _fds, replyFds) => {
      const format = this.#settings.features === undefined ? undefined : this.#rings.format;
      const { fd, description } = createInflightArea(request, this.#device, format);
      replyFds.push(fd);
      return description;
    },
    SET_INFLIGHT_FD: (request, fds) => {
      this.#rings.demandStopped('gets in-flight memory');
      const area = new InflightArea(request, fds[0], this.#device);
      this.#settings.inflight?.close();
      this.#settings.inflight = area;
      if (area.kept !== undefined) this.#device.recall(area.kept);
    },
    RESET_DEVICE: async () => {
      await this.#rings.haltAll('reset');
      this.#rings.forgetBases();
      this.#settings.inflight?.clear();
      this.#status = 0n;
      this.#device.reset();
    },
    GET_MAX_MEM_SLOTS: () => ({ value: BigInt(MAX_MEMORY_SLOTS) }),
    ADD_MEM_REG: (request, fds) =>
      this.#changeMemory((memory) => memory.add(request as RegionDescription, fds[0])),
    REM_MEM_REG: (request) =>
      this.#changeMemory((memory) => memory.remove(request as RegionDescription)),
    SET_STATUS: (request) => {
      if (request.value > 0xffn) throw new ProtocolError('BAD_PAYLOAD', 'status above 255');
      this.#status = request.value;
    },
    GET_STATUS: () => ({ value: this.#status }),
  };

  get #offeredFeatures(): bigint {
    return this.#device.features | PROTOCOL_FEATURES_BIT | LOG_ALL_BIT;
  }

  async #setFeatures(features: bigint): Promise<void> {
    const unknown = features & ~this.#offeredFeatures;
    if (unknown !== 0n) {
      const text = `features that were not offered: 0x${unknown.toString(16)}`;
      throw new ProtocolError('BAD_FEATURES', text);
    }
    if (((this.#settings.features ?? 0n) ^ features) === LOG_ALL_BIT) {
      // Live migration begins or ends: rings go on while they start or stop to log.
      this.#settings.features = features;
      await this.#rings.rewireRunning();
    } else if (features !== this.#settings.features) {
      await this.#rings.whileHalted(() => {
        this.#settings.features = features;
      });
    }
    // Without the protocol's own features there are no SET_VRING_ENABLE messages.
    if (this.hasProtocolFeatures) return;
    await this.#rings.enableAll();
  }

  async #setLogFd(fds: Fd[]): Promise<void> {
    const old = this.#settings.log.exchangeFd(fds[0]);
    fds.length = 0;
    try {
      await this.#rings.rewireRunning();
    } finally {
      old?.close();
    }
  }

  /** @param make - makes the new table, or throws and leaves the old one. */
  async #changeMemory(make: (memory: MemoryTable) => MemoryTable['regions']): Promise<void> {
    const regions = make(this.#settings.memory);
    await this.#rings.whileHalted(async () => {
      await this.#device.setMemory(regions);
      this.#settings.memory.commit(regions);
    });
    const bytes = regions.reduce((sum, region) => sum + region.sizeBytes, 0);
    this.#logger.debug(`memory: ${regions.length} regions, ${bytes} bytes`);
  }

  #openBackendChannel(fds: Fd[]): void {
    const [socket] = fds;
    if (socketKind(socket.number) !== 'stream') {
      throw new ProtocolError('BAD_DESCRIPTORS', 'the back-end channel is no stream socket');
    }
    fds.length = 0;
    this.#backendChannel?.close();
    this.#backendChannel = new BackendChannel(this.#reactor, socket, this.#logger);
  }
}
