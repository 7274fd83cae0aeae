/** What a thread with a queue of another thread's device does, and what it tells: plain data. */
import type { MemoryRegionHandle, QueueHandle } from '../../src/blkio/index.ts';

/** Words that both threads see. */
export const LoadWord = { STOP: 0, DONE: 1 } as const;

export interface QueueThreadPlan {
  readonly handle: QueueHandle;
  /** Completions are waited for in `doIo`, or by the completion descriptor, or are promises. */
  readonly mode: 'blocking' | 'event-driven' | 'promises';
  readonly lanes: number;
  /** Where its part of the disk begins. */
  readonly startBytes: number;
  /** Memory for the buffers; absent: memory of the thread's own. */
  readonly region?: MemoryRegionHandle;
  /** By `LoadWord`. */
  readonly words: SharedArrayBuffer;
}

/** What came of it. */
export interface QueueThreadOutcome {
  readonly done: number;
  /** Results of failed requests; for promises, names of their errors. */
  readonly failures: readonly (number | string)[];
  readonly bounced: number;
  /** What its part of the disk holds, if nothing failed. */
  readonly model: Uint8Array;
}
