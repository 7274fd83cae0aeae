/**
 * What a back-end session serves: a device, seen from the protocol. The session knows messages and
 * rings, the device knows what to do with them; `exports/` has the block device.
 */
import type { MemoryRegion } from '../memory/index.ts';
import type { Mapping, MappingHandle } from '../sys/index.ts';

/** A ring that can run: everything checked as far as it can be without touching it. */
export interface RingSetup {
  readonly index: number;
  readonly size: number;
  /** User addresses of the three parts: see `RingFormat`. */
  readonly descriptorAddress: number;
  readonly availableAddress: number;
  readonly usedAddress: number;
  /** Where to go on, valid for the ring's format and size (SET_VRING_BASE). */
  readonly base: number;
  /** Negotiated virtio features; with VHOST_F_LOG_ALL, writes of data are to be logged. */
  readonly features: bigint;
  /** Signalled by the driver, or `undefined`: the ring has to be polled. */
  readonly kickFd: number | undefined;
  /** To signal, or `undefined`: the driver polls. */
  readonly callFd: number | undefined;
  readonly errFd: number | undefined;
  /** Where requests under way are written down, or `undefined`: nowhere. For one run. */
  readonly inflight: InflightPart | undefined;
  /** Guest address at which to log writes to the used ring, or `undefined`: do not. */
  readonly usedLogAddress: number | undefined;
  /** To signal when the dirty log has changed, or `undefined`. */
  readonly logFd: number | undefined;
}

/**
 * What becomes of requests under way when a ring is halted:
 *
 * - `finish`: they are done, and answered;
 * - `leave`: they may also be left to the next run, which need not be here, if it is written down
 *   that they were under way (GET_VRING_BASE_INFLIGHT), and nothing of them goes on;
 * - `abort`: nobody waits for them: the connection ends, or the driver has reset the device. As with
 *   `leave`, and they may fail where it is not written down.
 */
export type HaltMode = 'finish' | 'leave' | 'abort';

/** The part of the in-flight area that is one ring's. */
export interface InflightPart {
  /** To adopt, and close in the end. */
  readonly mapping: MappingHandle;
  readonly offsetBytes: number;
  /** Descriptors it has room for: the ring's size. */
  readonly queueSize: number;
}

/** See the module's comment. Descriptors given to it stay the session's. */
export interface BackendDevice {
  /** Virtio features to offer. */
  readonly features: bigint;
  readonly numQueues: number;
  readonly maxQueueSize: number;
  /** A part of the configuration space; zeros beyond its end. */
  readConfig(offset: number, sizeBytes: number): Uint8Array;
  /**
   * A write to the configuration space. False, and nothing changed, if it is not allowed.
   *
   * @param isMigration - the whole space is being restored: read-only fields are to be ignored.
   */
  writeConfig(offset: number, bytes: Uint8Array, isMigration: boolean): boolean;
  /**
   * A byte of the device's own, which the front-end keeps for the next back-end. It may change
   * with `writeConfig` and when a ring begins to run.
   */
  readonly keptByte: number;
  /** What an earlier back-end, perhaps of another kind, had as `keptByte`. */
  recall(keptByte: number): void;
  /** Use other memory from now on. No ring runs. Old mappings are closed afterwards. */
  setMemory(regions: readonly MemoryRegion[]): Promise<void>;
  /**
   * Use another dirty log, or none, from now on. Rings may run. The old one is closed afterwards.
   */
  setLog(log: Mapping | undefined): Promise<void>;
  /**
   * Run a ring.
   *
   * @param onBroken - called when the ring makes no sense and is not served any more.
   */
  runRing(setup: RingSetup, onBroken: (reason: string) => void): Promise<void>;
  /** End the requests under way, and stop. Resolves with the base of the next run. */
  haltRing(index: number, mode: HaltMode): Promise<number>;
  /**
   * Exchange descriptors of a running ring, and what of its writes is logged. The old descriptors
   * are closed afterwards.
   */
  rewireRing(setup: RingSetup): Promise<void>;
  /** The driver's reset: back to the initial state. No ring runs. */
  reset(): void;
}
