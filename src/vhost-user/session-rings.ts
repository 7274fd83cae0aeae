/**
 * The rings of a session: what is set for each, and when they run. They are halted, and run again,
 * around everything that changes under them.
 */
import type { Fd, Logger } from '../sys/index.ts';
import { isValidRingSize, type RingFormat, ringFormat } from '../virtqueue/index.ts';
import type { BackendDevice, HaltMode, RingSetup } from './backend-device.ts';
import { ProtocolError } from './errors.ts';
import type { InflightArea } from './inflight-area.ts';
import type { MemoryTable } from './memory-table.ts';
import { type RequestOf, VRING_INDEX_MASK, VRING_NO_FD_BIT } from './messages.ts';
import { hasProtocolFeature } from './protocol-features.ts';
import { RingConfig, usedLogAddress } from './ring-config.ts';
import type { SessionLog } from './session-log.ts';
import type { RingEvent } from './session-state.ts';

/** What is negotiated and shared, which all rings depend on. */
export interface SessionSettings {
  /** Virtio features; `undefined`: not negotiated yet. */
  features: bigint | undefined;
  protocolFeatures: bigint;
  inflight: InflightArea | undefined;
  readonly memory: MemoryTable;
  readonly log: SessionLog;
}

/** See the module's comment. */
export class SessionRings {
  readonly #device: BackendDevice;
  readonly #logger: Logger;
  readonly #settings: SessionSettings;
  readonly #rings: readonly RingConfig[];

  constructor(device: BackendDevice, logger: Logger, settings: SessionSettings) {
    this.#device = device;
    this.#logger = logger;
    this.#settings = settings;
    this.#rings = Array.from({ length: device.numQueues }, (_, index) => new RingConfig(index));
  }

  /** Until features are negotiated, rings are split. */
  get format(): RingFormat {
    return ringFormat(this.#settings.features ?? 0n);
  }

  /** The states of all rings, for log lines. */
  get states(): string {
    const active = this.#rings.filter((ring) => ring.state !== 'stopped+disabled');
    return active.map((ring) => `ring ${ring.index} ${ring.state}`).join(', ') || 'no ring active';
  }

  /** Throws a `ProtocolError` if a ring is started. @param what - cannot happen then. */
  demandStopped(what: string): void {
    const started = this.#rings.find((ring) => ring.isStarted);
    if (started) throw ringError(started, `${what} while it is started`);
  }

  setSize({ index, num }: RequestOf<'SET_VRING_NUM'>): void {
    const ring = this.#ring(index);
    if (ring.isStarted) throw ringError(ring, 'is resized while it is started');
    const { maxQueueSize } = this.#device;
    if (!isValidRingSize(num, this.format) || num > maxQueueSize) {
      const kind = this.format === 'split' ? 'a power of two' : 'at least 1';
      const rule = `${kind}, at most ${maxQueueSize}`;
      throw new ProtocolError('BAD_RING', `ring ${index} of size ${num}: must be ${rule}`);
    }
    ring.size = num;
  }

  /** Sent again for a started ring, it says what to log, and nothing else may have changed. */
  async setAddresses(request: RequestOf<'SET_VRING_ADDR'>): Promise<void> {
    const ring = this.#ring(request.index);
    const { descriptor, available, used } = request;
    const isSame =
      ring.addresses?.descriptor === descriptor &&
      ring.addresses.available === available &&
      ring.addresses.used === used;
    if (ring.isStarted && !isSame) throw ringError(ring, 'is moved while it is started');
    const usedLog = usedLogAddress(request);
    const isLoggedOtherwise = usedLog !== ring.addresses?.usedLog;
    ring.addresses = { descriptor, available, used, usedLog };
    if (ring.state !== 'running' || !isLoggedOtherwise) return;
    await this.#device.rewireRing(this.#setup(ring));
  }

  setBase({ index, num }: RequestOf<'SET_VRING_BASE'>): void {
    const ring = this.#ring(index);
    if (ring.isStarted) throw ringError(ring, 'gets a base while it is started');
    // Of a packed ring, the upper half has a meaning, which depends on the ring's size.
    if (this.format === 'split' && num > 0xffff) throw ringError(ring, `gets base ${num}`);
    ring.base = num;
  }

  /** GET_VRING_BASE. @returns where the next run goes on. */
  async stop(index: number): Promise<number> {
    const ring = this.#ring(index);
    await this.#apply(ring, 'stop');
    ring.closeKick();
    return ring.baseFor(this.format);
  }

  enable(index: number, isEnabled: boolean): Promise<void> {
    return this.#apply(this.#ring(index), isEnabled ? 'enable' : 'disable');
  }

  async enableAll(): Promise<void> {
    for (const ring of this.#rings) await this.#apply(ring, 'enable');
  }

  /** SET_VRING_KICK. Takes its descriptor over. */
  async setKick(value: bigint, fds: Fd[]): Promise<void> {
    const { ring, fd } = this.#takeRingFd(value, fds);
    const old = ring.exchange('kick', fd);
    fds.length = 0;
    try {
      await this.#apply(ring, 'start');
    } finally {
      old?.close();
    }
  }

  /** SET_VRING_CALL, SET_VRING_ERR. Takes its descriptor over. */
  async setSignal(kind: 'call' | 'err', value: bigint, fds: Fd[]): Promise<void> {
    const { ring, fd } = this.#takeRingFd(value, fds);
    const old = ring.exchange(kind, fd);
    fds.length = 0;
    try {
      if (ring.state === 'running') await this.#device.rewireRing(this.#setup(ring));
    } finally {
      old?.close();
    }
  }

  /** What is logged, or where that is signalled, has changed. */
  async rewireRunning(): Promise<void> {
    for (const ring of this.#running) await this.#device.rewireRing(this.#setup(ring));
  }

  /** Change something that running rings depend on. */
  async whileHalted(change: () => void | Promise<void>): Promise<void> {
    const running = this.#running;
    for (const ring of running) ring.base = await this.#device.haltRing(ring.index, 'finish');
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

  /** Each of them, though one cannot be: that is thrown in the end. */
  async haltAll(event: 'reset' | 'disable'): Promise<void> {
    const failures: unknown[] = [];
    for (const ring of this.#rings) {
      await this.#apply(ring, event).catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  /** The driver's reset: each ring begins anew. */
  forgetBases(): void {
    for (const ring of this.#rings) ring.base = undefined;
  }

  /** Close all descriptors. No ring runs. */
  close(): void {
    for (const ring of this.#rings) ring.close();
  }

  get #running(): readonly RingConfig[] {
    return this.#rings.filter((ring) => ring.state === 'running');
  }

  #ring(index: number): RingConfig {
    const ring = this.#rings[index];
    if (ring !== undefined) return ring;
    const count = this.#rings.length;
    throw new ProtocolError('BAD_RING', `ring ${index}: the device has ${count}`);
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

  /** @param inflight - if the ring is to run. */
  #setup(ring: RingConfig, inflight?: InflightArea): RingSetup {
    const { maxQueueSize } = this.#device;
    const { features = 0n, memory, log } = this.#settings;
    return ring.setup({ features, memory, maxQueueSize, logFd: log.fd }, inflight);
  }

  /** QEMU disables a ring before it stops it: what is left is in the log from then on. */
  #haltMode(event: RingEvent): HaltMode {
    if (event === 'reset') return 'abort';
    const { protocolFeatures } = this.#settings;
    return hasProtocolFeature(protocolFeatures, 'GET_VRING_BASE_INFLIGHT') ? 'leave' : 'finish';
  }

  /** Let an event happen to a ring, with what follows from it. */
  async #apply(ring: RingConfig, event: RingEvent): Promise<void> {
    switch (ring.effectOf(event)) {
      case 'run':
        await this.#run(ring);
        break;
      case 'halt':
        ring.base = await this.#device.haltRing(ring.index, this.#haltMode(event));
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
    const { inflight } = this.#settings;
    const setup = this.#setup(ring, inflight);
    await this.#device.runRing(setup, (reason) => {
      this.#logger.warn(`ring ${ring.index} is not served any more: ${reason}`);
    });
    inflight?.keep(this.#device.keptByte);
    this.#logger.debug(`ring ${ring.index} runs: ${setup.size} entries from ${setup.base}`);
  }
}

function ringError(ring: RingConfig, problem: string): ProtocolError {
  return new ProtocolError('WRONG_STATE', `ring ${ring.index} ${problem}`);
}
