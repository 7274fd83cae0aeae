/** What a thread that is one side of a ring is told: see ring-side-thread.ts. */
import type { MappingHandle } from '../../src/sys/index.ts';
import type { RingFormat } from '../../src/virtqueue/index.ts';

/** What a thread is to do. */
export interface RingSideOptions {
  readonly side: 'driver' | 'device';
  readonly format: RingFormat;
  readonly size: number;
  readonly eventIdx: boolean;
  /** Chains to send through the ring. */
  readonly chains: number;
  readonly memory: MappingHandle;
  readonly kickFd: number;
  readonly callFd: number;
  /** Set to 1 to make both sides end. */
  readonly stop: SharedArrayBuffer;
}

/** Bytes for a ring's parts, each on pages of its own. */
export const PART_BYTES: number = 128 * 4096;
