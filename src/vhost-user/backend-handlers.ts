/**
 * What each front-end message does to a session: one handler a message. The session has checked
 * that the message may come now, its size and its number of descriptors.
 *
 * Handlers take the descriptors they keep out of the list they are given; the session closes the
 * rest, and those that it sends with the reply. Rings are halted, and run again, around everything that changes under them.
 */
import { type Fd, type Logger, type Reactor, socketKind } from '../sys/index.ts';
import { isValidRingSize, type RingFormat, ringFormat } from '../virtqueue/index.ts';
import { BackendChannel } from './backend-channel.ts';
import type { BackendDevice } from './backend-device.ts';
import { BACKEND_PROTOCOL_FEATURES } from './backend-features.ts';
import { ProtocolError } from './errors.ts';
import { createInflightArea, InflightArea } from './inflight-area.ts';
import { MAX_MEMORY_SLOTS, MemoryTable } from './memory-table.ts';
import {
  type FrontendMessageName,
  MAX_CONFIG_BYTES,
  type RegionDescription,
  type ReplyOf,
  type RequestOf,
  VRING_INDEX_MASK,
  VRING_NO_FD_BIT,
} from './messages.ts';
import { F_LOG_ALL, F_PROTOCOL_FEATURES, protocolFeatureNames } from './protocol-features.ts';
import { RingConfig, usedLogAddress } from './ring-config.ts';
import { SessionLog } from './session-log.ts';
import type { RingEvent } from './session-state.ts';

const PROTOCOL_FEATURES_BIT = 1n << BigInt(F_PROTOCOL_FEATURES);
const LOG_ALL_BIT = 1n << BigInt(F_LOG_ALL);
/** SET_CONFIG flag: live migration restores the whole space. */
const CONFIG_FLAG_MIGRATION = 1;

type Handler<Name extends FrontendMessageName> = (
  request: RequestOf<Name>,
  fds: Fd[],
  replyFds: Fd[],
) => Promise<ReplyOf<Name>> | ReplyOf<Name> | Promise<void> | void;

type HandlerTable = { readonly [Name in FrontendMessageName]?: Handler<Name> };

/** A handler with its types forgotten. */
export type AnyHandler = (request: unknown, fds: Fd[], replyFds: Fd[]) => unknown;

/** See the module's comment. */
export class BackendHandlers {
  readonly #device: BackendDevice;
  readonly #reactor: Reactor;
  readonly #logger: Logger;
  readonly #memory = new MemoryTable();
  readonly #log: SessionLog;
  readonly #rings: readonly RingConfig[];
  #features: bigint | undefined;
  #protocolFeatures = 0n;
  #status = 0n;
  #backendChannel: BackendChannel | undefined;
  #inflight: InflightArea | undefined;

  constructor(device: BackendDevice, reactor: Reactor, logger: Logger) {
    this.#device = device;
    this.#reactor = reactor;
    this.#logger = logger;
    this.#log = new SessionLog(device);
    this.#rings = Array.from({ length: device.numQueues }, (_, index) => new RingConfig(index));
  }

  /** Negotiated protocol features. */
  get protocolFeatures(): bigint {
    return this.#protocolFeatures;
  }

  /** Whether VHOST_USER_F_PROTOCOL_FEATURES was negotiated. */
  get hasProtocolFeatures(): boolean {
    return ((this.#features ?? 0n) & PROTOCOL_FEATURES_BIT) !== 0n;
  }

  /** Until features are negotiated, rings are split. */
  get #ringFormat(): RingFormat {
    return ringFormat(this.#features ?? 0n);
  }

  /** The states of all rings, for log lines. */
  get ringStates(): string {
    const active = this.#rings.filter((ring) => ring.state !== 'stopped+disabled');
    return active.map((ring) => `ring ${ring.index} ${ring.state}`).join(', ') || 'no ring active';
  }

  /** The handler of a message, if the session knows it. */
  handler(name: FrontendMessageName): AnyHandler | undefined {
    return this.#table[name] as AnyHandler | undefined;
  }

  /** Tell the front-end that the configuration space has changed, if it listens. */
  notifyConfigChange(): void {
    this.#backendChannel?.sendConfigChange();
  }

  /** The connection has ended: finish what is under way, and let everything go. */
  async close(): Promise<void> {
    await this.#haltAll('reset');
    await this.#device.setMemory([]);
    this.#memory.commit([]);
    await this.#log.close();
    for (const ring of this.#rings) ring.close();
    this.#backendChannel?.close();
    this.#inflight?.close();
  }

  readonly #table: HandlerTable = {
    GET_FEATURES: () => ({ value: this.#offeredFeatures }),
    SET_FEATURES: (request) => this.#setFeatures(request.value),
    SET_OWNER: () => {},
    // Deprecated: rings go quiet, the connection and what was set up stay (vhost-user.rst).
    RESET_OWNER: () => this.#haltAll('disable'),
    SET_MEM_TABLE: (request, fds) => this.#changeMemory((memory) => memory.replace(request, fds)),
    SET_LOG_BASE: async (request, fds) => {
      await this.#log.setBase(request, fds[0], this.#memory.regions);
      // The value says nothing; libvhost-user has none but 0, and QEMU reads none.
      return { value: 0n };
    },
    SET_LOG_FD: (_request, fds) => this.#setLogFd(fds),
    SET_VRING_NUM: (request) => this.#setRingSize(request.index, request.num),
    SET_VRING_ADDR: (request) => this.#setRingAddresses(request),
    SET_VRING_BASE: (request) => {
      const ring = this.#ring(request.index);
      if (ring.isStarted) throw this.#ringError(ring, 'gets a base while it is started');
      // Of a packed ring, the upper half has a meaning, which depends on the ring's size.
      if (this.#ringFormat === 'split' && request.num > 0xffff)
        throw this.#ringError(ring, `gets base ${request.num}`);
      ring.base = request.num;
    },
    GET_VRING_BASE: async (request) => {
      const ring = this.#ring(request.index);
      await this.#apply(ring, 'stop');
      ring.closeKick();
      return { index: ring.index, num: ring.baseFor(this.#ringFormat) };
    },
    SET_VRING_KICK: (request, fds) => this.#setKick(request.value, fds),
    SET_VRING_CALL: (request, fds) => this.#setSignal('call', request.value, fds),
    SET_VRING_ERR: (request, fds) => this.#setSignal('err', request.value, fds),
    GET_PROTOCOL_FEATURES: () => ({ value: BACKEND_PROTOCOL_FEATURES }),
    SET_PROTOCOL_FEATURES: (request) => {
      const unknown = request.value & ~BACKEND_PROTOCOL_FEATURES;
      if (unknown !== 0n) {
        const names = protocolFeatureNames(unknown).join(', ');
        throw new ProtocolError(
          'BAD_FEATURES',
          `protocol features that were not offered: ${names}`,
        );
      }
      this.#protocolFeatures = request.value;
      this.#logger.debug(`protocol features: ${protocolFeatureNames(request.value).join(', ')}`);
    },
    GET_QUEUE_NUM: () => ({ value: BigInt(this.#device.numQueues) }),
    SET_VRING_ENABLE: (request) => {
      if (request.num > 1) throw new ProtocolError('BAD_PAYLOAD', `enable is ${request.num}`);
      return this.#apply(this.#ring(request.index), request.num === 1 ? 'enable' : 'disable');
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
      if (this.#device.writeConfig(request.offset, request.bytes, isMigration)) return;
      const what = `${request.size} bytes at ${request.offset}, flags ${request.flags}`;
      throw new ProtocolError('BAD_CONFIG', `the configuration cannot be written so: ${what}`);
    },
    GET_INFLIGHT_FD: (request, _fds, replyFds) => {
      const { fd, description } = createInflightArea(request, this.#device);
      replyFds.push(fd);
      return description;
    },
    SET_INFLIGHT_FD: (request, fds) => {
      const started = this.#rings.find((ring) => ring.isStarted);
      if (started) throw this.#ringError(started, 'gets in-flight memory while it is started');
      const area = new InflightArea(request, fds[0], this.#device);
      this.#inflight?.close();
      this.#inflight = area;
    },
    RESET_DEVICE: async () => {
      await this.#haltAll('reset');
      for (const ring of this.#rings) ring.base = undefined;
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

  #ring(index: number): RingConfig {
    const ring = this.#rings[index];
    if (ring !== undefined) return ring;
    const count = this.#rings.length;
    throw new ProtocolError('BAD_RING', `ring ${index}: the device has ${count}`);
  }

  #ringError(ring: RingConfig, problem: string): ProtocolError {
    return new ProtocolError('WRONG_STATE', `ring ${ring.index} ${problem}`);
  }

  async #setFeatures(features: bigint): Promise<void> {
    const unknown = features & ~this.#offeredFeatures;
    if (unknown !== 0n) {
      const text = `features that were not offered: 0x${unknown.toString(16)}`;
      throw new ProtocolError('BAD_FEATURES', text);
    }
    if (((this.#features ?? 0n) ^ features) === LOG_ALL_BIT) {
      // Live migration begins or ends: rings go on while they start or stop to log.
      this.#features = features;
      await this.#rewireRunning();
    } else if (features !== this.#features) {
      await this.#withRingsHalted(() => {
        this.#features = features;
      });
    }
    // Without the protocol's own features there are no SET_VRING_ENABLE messages.
    if (this.hasProtocolFeatures) return;
    for (const ring of this.#rings) await this.#apply(ring, 'enable');
  }

  #setRingSize(index: number, size: number): void {
    const ring = this.#ring(index);
    if (ring.isStarted) throw this.#ringError(ring, 'is resized while it is started');
    const format = this.#ringFormat;
    if (!isValidRingSize(size, format) || size > this.#device.maxQueueSize) {
      const kind = format === 'split' ? 'a power of two' : 'at least 1';
      const rule = `${kind}, at most ${this.#device.maxQueueSize}`;
      throw new ProtocolError('BAD_RING', `ring ${index} of size ${size}: must be ${rule}`);
    }
    ring.size = size;
  }

  /** Sent again for a started ring, it says what to log, and nothing else may have changed. */
  async #setRingAddresses(request: RequestOf<'SET_VRING_ADDR'>): Promise<void> {
    const ring = this.#ring(request.index);
    const { descriptor, available, used } = request;
    const isSame =
      ring.addresses?.descriptor === descriptor &&
      ring.addresses.available === available &&
      ring.addresses.used === used;
    if (ring.isStarted && !isSame) throw this.#ringError(ring, 'is moved while it is started');
    const usedLog = usedLogAddress(request);
    const isLoggedOtherwise = usedLog !== ring.addresses?.usedLog;
    ring.addresses = { descriptor, available, used, usedLog };
    if (ring.state !== 'running' || !isLoggedOtherwise) return;
    await this.#device.rewireRing(this.#setup(ring));
  }

  async #setLogFd(fds: Fd[]): Promise<void> {
    const old = this.#log.exchangeFd(fds[0]);
    fds.length = 0;
    try {
      await this.#rewireRunning();
    } finally {
      old?.close();
    }
  }

  /** Ring index and descriptor of SET_VRING_KICK, CALL and ERR. */
  #takeRingFd(value: bigint, fds: Fd[]): { ring: RingConfig; fd: Fd | undefined } {
    const ring = this.#ring(Number(value & VRING_INDEX_MASK));
    const isAbsent = (value & VRING_NO_FD_BIT) !== 0n;
    if (fds.length !== (isAbsent ? 0 : 1)) {
      const rule = isAbsent ? 'a descriptor, though it says none' : 'no descriptor';
      throw new ProtocolError('BAD_DESCRIPTORS', `comes with ${rule}`);
    }
    return { ring, fd: fds[0] };
  }

  async #setKick(value: bigint, fds: Fd[]): Promise<void> {
    const { ring, fd } = this.#takeRingFd(value, fds);
    const old = ring.exchange('kick', fd);
    fds.length = 0;
    try {
      await this.#apply(ring, 'start');
    } finally {
      old?.close();
    }
  }

  async #setSignal(kind: 'call' | 'err', value: bigint, fds: Fd[]): Promise<void> {
    const { ring, fd } = this.#takeRingFd(value, fds);
    const old = ring.exchange(kind, fd);
    fds.length = 0;
    try {
      if (ring.state === 'running') await this.#device.rewireRing(this.#setup(ring));
    } finally {
      old?.close();
    }
  }

  #setup(ring: RingConfig): ReturnType<RingConfig['setup']> {
    const { maxQueueSize } = this.#device;
    return ring.setup(this.#features ?? 0n, this.#memory, maxQueueSize, this.#log.fd);
  }

  async #rewireRunning(): Promise<void> {
    const running = this.#rings.filter((ring) => ring.state === 'running');
    for (const ring of running) await this.#device.rewireRing(this.#setup(ring));
  }

  /** Let an event happen to a ring, with what follows from it. */
  async #apply(ring: RingConfig, event: RingEvent): Promise<void> {
    switch (ring.effectOf(event)) {
      case 'run':
        await this.#run(ring);
        break;
      case 'halt':
        ring.base = await this.#device.haltRing(ring.index);
        this.#logger.debug(`ring ${ring.index} halted at ${ring.base}`);
        break;
      case 'rewire':
        await this.#device.rewireRing(this.#setup(ring));
        break;
      case 'none':
        break;
    }
    ring.advance(event);
  }

  async #run(ring: RingConfig): Promise<void> {
    const checked = this.#setup(ring);
    // Of packed rings nothing is written down.
    const isTracked = ringFormat(checked.features) === 'split';
    const inflight = isTracked ? this.#inflight?.partOf(ring.index, checked.size) : undefined;
    const setup = { ...checked, inflight };
    await this.#device.runRing(setup, (reason) => {
      this.#logger.warn(`ring ${ring.index} is not served any more: ${reason}`);
    });
    this.#logger.debug(`ring ${ring.index} runs: ${setup.size} entries from ${setup.base}`);
  }

  async #haltAll(event: 'reset' | 'disable'): Promise<void> {
    for (const ring of this.#rings) await this.#apply(ring, event);
  }

  /** Change something that running rings depend on. */
  async #withRingsHalted(change: () => void | Promise<void>): Promise<void> {
    const running = this.#rings.filter((ring) => ring.state === 'running');
    for (const ring of running) ring.base = await this.#device.haltRing(ring.index);
    await change();
    const failures: unknown[] = [];
    for (const ring of running) {
      try {
        await this.#run(ring);
      } catch (error) {
        // It has lost its memory: it stays stopped, and the others go on.
        ring.advance('stop');
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** @param make - makes the new table, or throws and leaves the old one. */
  async #changeMemory(make: (memory: MemoryTable) => MemoryTable['regions']): Promise<void> {
    const regions = make(this.#memory);
    await this.#withRingsHalted(async () => {
      await this.#device.setMemory(regions);
      this.#memory.commit(regions);
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
