/**
 * How much garbage requests leave behind. What is allocated is what the heap has grown by: for a
 * process whose young generation is so large that nothing is collected on the way.
 */
import { getHeapStatistics } from 'node:v8';

/** Options of Node.js for such a process. */
export const HEAP_OPTIONS: readonly string[] = [
  '--expose-gc',
  '--min-semi-space-size=64',
  '--max-semi-space-size=128',
];

const ROUNDS = 6;

/**
 * Bytes of heap for each request. The least of several rounds counts: now and then the compiler
 * needs memory of its own.
 */
export function bytesPerRequest(run: (requests: number) => void, requests: number): number {
  run(requests);
  run(requests);
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    const before = getHeapStatistics().used_heap_size;
    run(requests);
    least = Math.min(least, (getHeapStatistics().used_heap_size - before) / requests);
  }
  return least;
}
