/** What a benchmark does, and what its threads say to the main thread: plain data. */
import type { MemoryRegionHandle, QueueHandle } from '../../blkio/index.ts';

/** Names of `--readwrite`, with fio's for the mixed ones. */
export const READ_WRITE_MODES = [
  'read',
  'write',
  'rw',
  'readwrite',
  'randread',
  'randwrite',
  'randrw',
] as const;
export type ReadWriteMode = (typeof READ_WRITE_MODES)[number];

/** The requests of one queue. */
export interface LoadPlan {
  readonly random: boolean;
  /** Percentage of reads. */
  readonly readPercent: number;
  readonly blockBytes: number;
  readonly depth: number;
  readonly runtimeMs: number;
  /** Requests a second of this queue; 0: as many as it can do. */
  readonly rate: number;
}

/** What one thread does. */
export interface ThreadPlan {
  readonly load: LoadPlan;
  /** Of this thread, numbered from `firstQueue` among `allQueues`. */
  readonly queues: readonly QueueHandle[];
  readonly firstQueue: number;
  readonly allQueues: number;
  /** Buffers of all queues. */
  readonly region: MemoryRegionHandle;
  readonly capacityBytes: number;
  /** Two words by `ControlWord`. */
  readonly control: SharedArrayBuffer;
}

/** The main thread's orders: words that are 0 until they apply. */
export const ControlWord = { GO: 0, STOP: 1 } as const;

/** What a queue has done. */
export interface LaneResult {
  readonly seconds: number;
  readonly reads: number;
  readonly writes: number;
  /** Calls of `doIo`, and the fewest and most completions of one that had any. */
  readonly calls: number;
  readonly minCompletions: number;
  readonly maxCompletions: number;
  /** Fields of a `LatencyHistogram`. */
  readonly counts: Float64Array;
  readonly totals: Float64Array;
}

/** From a thread. */
export type ThreadMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly lanes: readonly LaneResult[] }
  | { readonly kind: 'failed'; readonly message: string };
