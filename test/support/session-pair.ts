/** Both ends of a vhost-user session in one process, over a socket pair, with a device that notes what is asked of it. */
import type { MemoryRegion } from '../../src/memory/index.ts';
import {
  AttachedHome,
  createReactor,
  createSocketPair,
  type Fd,
  type Logger,
  type Mapping,
  type Reactor,
} from '../../src/sys/index.ts';
import {
  type BackendDevice,
  BackendSession,
  FrontendSession,
  type HaltMode,
  type ProtocolFeatureName,
  protocolFeatureSet,
  type RingSetup,
} from '../../src/vhost-user/index.ts';

export const PROTOCOL_FEATURES_BIT: bigint = 1n << 30n;
export const LOG_ALL_BIT: bigint = 1n << 26n;
const VERSION_1 = 1n << 32n;
/** Where its rings are said to stand when they are halted. */
export const HALTED_AT = 77;

/** Does nothing, and remembers everything. */
export class NotedDevice implements BackendDevice {
  readonly features: bigint = VERSION_1 | 1n;
  readonly numQueues = 2;
  readonly maxQueueSize = 256;
  /** What was asked, in order: `run 0`, `halt 1`, `memory 2`. */
  readonly notes: string[] = [];
  /** The dirty log in force. */
  log: Mapping | undefined;
  readonly running = new Map<number, RingSetup>();
  readonly config: Uint8Array = Uint8Array.from({ length: 64 }, (_, index) => index);
  keptByte = 0;
  onBroken: (reason: string) => void = () => {};
  /** Rings take until then to halt. */
  halting: Promise<void> = Promise.resolve();

  recall(keptByte: number): void {
    this.keptByte = keptByte;
    this.notes.push(`recall ${keptByte}`);
  }

  readConfig(offset: number, sizeBytes: number): Uint8Array {
    const part = new Uint8Array(sizeBytes);
    part.set(this.config.subarray(offset, offset + sizeBytes));
    return part;
  }

  /** Only byte 32 may be written, but for migration. */
  writeConfig(offset: number, bytes: Uint8Array, isMigration: boolean): boolean {
    if (!isMigration && (offset !== 32 || bytes.length !== 1)) return false;
    this.config.set(bytes, offset);
    return true;
  }

  async setMemory(regions: readonly MemoryRegion[]): Promise<void> {
    this.#demand(this.running.size === 0, 'memory changes under a ring');
    this.notes.push(`memory ${regions.length}`);
  }

  /** Rings may run. */
  async setLog(log: Mapping | undefined): Promise<void> {
    this.log = log;
    this.notes.push(log === undefined ? 'no log' : `log ${log.sizeBytes}`);
  }

  async runRing(setup: RingSetup, onBroken: (reason: string) => void): Promise<void> {
    this.#demand(!this.running.has(setup.index), 'a ring runs twice');
    this.running.set(setup.index, setup);
    this.onBroken = onBroken;
    this.notes.push(`run ${setup.index}`);
  }

  async haltRing(index: number, mode: HaltMode): Promise<number> {
    this.#demand(this.running.delete(index), 'a ring that does not run is halted');
    await this.halting;
    this.notes.push(`${mode} ${index}`);
    return HALTED_AT;
  }

  async rewireRing(setup: RingSetup): Promise<void> {
    this.#demand(this.running.has(setup.index), 'a ring that does not run is rewired');
    this.running.set(setup.index, setup);
    this.notes.push(`rewire ${setup.index}`);
  }

  reset(): void {
    this.#demand(this.running.size === 0, 'reset under a ring');
    this.notes.push('reset');
  }

  #demand(isTrue: boolean, otherwise: string): void {
    if (!isTrue) throw new Error(otherwise);
  }
}

/** What both ends of a pair consist of. */
export interface Pair {
  readonly reactor: Reactor;
  readonly device: NotedDevice;
  readonly backend: BackendSession;
  /** Lines of the back-end, with their level: `warn SET_OWNER ...`. */
  readonly log: readonly string[];
}

/** Run `use` with a back-end session and the socket it is connected to; then all is closed. */
export async function withBackend(use: (pair: Pair, socket: Fd) => Promise<void>): Promise<void> {
  const { reactor } = createReactor('attached', 'epoll');
  const home = new AttachedHome(reactor);
  const [ours, theirs] = createSocketPair();
  const log: string[] = [];
  const at =
    (level: string) =>
    (message: string): void => {
      log.push(`${level} ${message}`);
    };
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
  const device = new NotedDevice();
  const backend = new BackendSession({ reactor, socket: theirs, device, logger });
  try {
    // Its thread has a descriptor, which tests that count them have to know of.
    await home.ready;
    await use({ reactor, device, backend, log }, ours);
  } finally {
    ours[Symbol.dispose]();
    await backend.close();
    home.close();
    reactor[Symbol.dispose]();
  }
}

/** The same with a front-end session. */
export function withPair(
  use: (frontend: FrontendSession, pair: Pair) => Promise<void>,
): Promise<void> {
  return withBackend(async (pair, socket) => {
    const taken = { reactor: pair.reactor, socket };
    const frontend = new FrontendSession(taken);
    try {
      await use(frontend, pair);
    } finally {
      if (socket.isOpen) frontend.close();
    }
  });
}

/** Negotiate: protocol features by name, and the virtio features the device has. */
export async function negotiate(
  frontend: FrontendSession,
  names: readonly ProtocolFeatureName[],
): Promise<void> {
  const value = protocolFeatureSet(names);
  await frontend.request('SET_PROTOCOL_FEATURES', { value });
  frontend.protocolFeatures = value;
  frontend.hasProtocolFeatures = true;
  await frontend.request('SET_FEATURES', { value: PROTOCOL_FEATURES_BIT | VERSION_1 });
}
