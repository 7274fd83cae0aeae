/**
 * One queue's load: keeps `depth` requests under way and times them. Runs in one thread with
 * nothing else, and allocates nothing while it does.
 */
import type { RecordableHistogram } from 'node:perf_hooks';
import { CompletionList, type MemoryRegion, type Queue } from '../src/blkio/index.ts';
import { BlockPicker } from './block-picker.ts';
import type { Workload } from './workload.ts';

const NANOSECONDS_PER_MS = 1e6;
/** Deepest queue of all workloads. */
export const MAX_DEPTH = 128;

/** Record how long a request has taken. */
export function recordLatency(latencies: RecordableHistogram, elapsedMs: number): void {
  latencies.record(Math.max(Math.round(elapsedMs * NANOSECONDS_PER_MS), 1));
}

/** See the module's comment. */
export class LoadQueue {
  readonly #queue: Queue;
  readonly #region: MemoryRegion;
  readonly #completions = new CompletionList(MAX_DEPTH);
  readonly #startedMs = new Float64Array(MAX_DEPTH);
  #buffers: Uint8Array[] = [];
  #picker: BlockPicker | undefined;
  #isRead = true;

  /** @param region - room for the data of all requests; mapped. */
  constructor(queue: Queue, region: MemoryRegion) {
    this.#queue = queue;
    this.#region = region;
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#queue.outstanding;
  }

  /** Ask for `workload.depth` requests. */
  begin(workload: Workload, diskBytes: number): void {
    const { blockBytes, depth } = workload;
    this.#isRead = workload.operation === 'read';
    this.#picker = new BlockPicker(workload, diskBytes);
    this.#buffers = Array.from({ length: depth }, (_, slot) =>
      this.#region.view(slot * blockBytes, blockBytes),
    );
    const nowMs = performance.now();
    for (let slot = 0; slot < depth; slot++) this.#submit(slot, nowMs);
  }

  /**
   * Take what is finished, and ask for as much again unless `isOver`. Returns how many were
   * finished: with `sleeps` at least one.
   */
  turn(sleeps: boolean, isOver: boolean, latencies: RecordableHistogram): number {
    const completions = this.#completions;
    const count = this.#queue.doIo(completions, sleeps ? 1 : 0);
    if (count === 0) return 0;
    const nowMs = performance.now();
    for (let done = 0; done < count; done++) {
      const slot = completions.userData[done] as number;
      if (completions.results[done] !== 0) {
        throw new Error(`a request failed: ${completions.results[done]}`);
      }
      recordLatency(latencies, nowMs - this.#startedMs[slot]);
      if (!isOver) this.#submit(slot, nowMs);
    }
    return count;
  }

  #submit(slot: number, nowMs: number): void {
    const offset = this.#picker?.next() ?? 0;
    this.#startedMs[slot] = nowMs;
    if (this.#isRead) this.#queue.read(offset, this.#buffers[slot], slot);
    else this.#queue.write(offset, this.#buffers[slot], slot);
  }
}
