/**
 * Where the queues of a device run: on a reactor, of this thread or of another.
 *
 * `QueueHost` is the command interface; commands come from the session, one at a time for a ring.
 * Everything in a command is plain data: it may cross to another thread. Descriptors are lent: they
 * stay open until a later command has replaced or halted what uses them.
 */
import type { MappingHandle } from '../../sys/index.ts';
import type { HaltMode, RingSetup } from '../../vhost-user/index.ts';

/** Told why a ring is not served any more. */
export type BrokenRingHandler = (reason: string) => void;

/** A memory region for `QueueHost.setMemory`. */
export interface SharedRegion {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly sizeBytes: number;
  readonly mapping: MappingHandle;
}

/** See the module's comment. */
export interface QueueHost {
  /** Use other memory. No ring runs. The mappings' handles are adopted. */
  setMemory(regions: readonly SharedRegion[]): Promise<void>;
  /** Run a ring. `onBroken` is called if it cannot be served any more. */
  runRing(setup: RingSetup, onBroken: BrokenRingHandler): Promise<void>;
  /**
   * Finish its requests and stop. Resolves with what the next run starts with (GET_VRING_BASE).
   *
   * @param mode - see `BackendDevice.haltRing`.
   */
  haltRing(index: number, mode: HaltMode): Promise<number>;
  /** Use another dirty log, or none, for all rings, running or not. The handle is adopted. */
  setLog(log: MappingHandle | undefined): Promise<void>;
  /** Use other descriptors for a running ring, and log its writes otherwise. */
  rewireRing(setup: RingSetup): Promise<void>;
  /** No ring runs. The host is of no use any more. */
  close(): Promise<void>;
}
