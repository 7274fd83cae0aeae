/** Load by promises, as asynchronous code makes it: `depth` loops that await each request. */
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks';
import type { AsyncQueue, MemoryRegion } from '../src/blkio/index.ts';
import { BlockPicker } from './block-picker.ts';
import { recordLatency } from './load-queue.ts';
import type { Workload } from './workload.ts';

/** How a run went. */
export interface PromiseLoadResult {
  readonly requests: number;
  readonly elapsedMs: number;
  /** Time in which the event loop was busy. */
  readonly busyMs: number;
  readonly latencies: RecordableHistogram;
}

/** Run a workload on a queue. */
export async function runPromises(
  queue: AsyncQueue,
  region: MemoryRegion,
  workload: Workload,
  diskBytes: number,
  seconds: number,
): Promise<PromiseLoadResult> {
  const { depth, blockBytes, operation } = workload;
  const picker = new BlockPicker(workload, diskBytes);
  const latencies = createHistogram({ figures: 3 });
  let requests = 0;
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  const before = performance.eventLoopUtilization();
  const loop = async (slot: number): Promise<void> => {
    const buffer = region.view(slot * blockBytes, blockBytes);
    for (let nowMs = startedMs; nowMs < endMs; ) {
      const sinceMs = nowMs;
      if (operation === 'read') await queue.read(picker.next(), buffer);
      else await queue.write(picker.next(), buffer);
      nowMs = performance.now();
      recordLatency(latencies, nowMs - sinceMs);
      requests += 1;
    }
  };
  await Promise.all(Array.from({ length: depth }, (_, slot) => loop(slot)));
  const busyMs = performance.eventLoopUtilization(before).active;
  return { requests, elapsedMs: performance.now() - startedMs, busyMs, latencies };
}
