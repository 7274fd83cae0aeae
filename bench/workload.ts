/** What is measured: a pattern of requests. */

/** A pattern of requests on a disk. */
export interface Workload {
  readonly operation: 'read' | 'write';
  readonly pattern: 'random' | 'sequential';
  readonly blockBytes: number;
  /** Requests kept under way, on each queue. */
  readonly depth: number;
  readonly queues: number;
  /** The client looks for completions instead of sleeping. */
  readonly polled: boolean;
}

/** What a run of a workload showed. */
export interface Measurement {
  readonly requests: number;
  readonly seconds: number;
  /** Latency percentiles in microseconds. */
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  /** Processor time of the server while it served, all threads. */
  readonly serverCpuSeconds: number;
  /** Time of the client's event loop for a request, in microseconds; of promises only. */
  readonly loopUs?: number;
}

/** `randread 4k depth 32`, and what is not as usual. */
export function workloadName(workload: Workload): string {
  const { operation, pattern, blockBytes, depth, queues, polled } = workload;
  const verb = `${pattern === 'random' ? 'rand' : 'seq'}${operation}`;
  const extras = `${queues === 1 ? '' : ` x ${queues} queues`}${polled ? ' polled' : ''}`;
  return `${verb} ${blockBytes / 1024}k depth ${depth}${extras}`;
}

const RANDOM_4K = { pattern: 'random', blockBytes: 4096, queues: 1, polled: false } as const;
const SEQUENTIAL_128K = {
  pattern: 'sequential',
  blockBytes: 128 * 1024,
  depth: 16,
  queues: 1,
  polled: false,
} as const;

/** The workloads of a full run. */
export const WORKLOADS: readonly Workload[] = [
  ...[1, 8, 32, 128].map((depth) => ({ ...RANDOM_4K, operation: 'read', depth }) as const),
  ...[1, 8, 32, 128].map((depth) => ({ ...RANDOM_4K, operation: 'write', depth }) as const),
  { ...SEQUENTIAL_128K, operation: 'read' },
  { ...SEQUENTIAL_128K, operation: 'write' },
  ...[32, 128].map((depth) => ({ ...RANDOM_4K, operation: 'read', depth, queues: 2 }) as const),
  ...[1, 32, 128].map(
    (depth) => ({ ...RANDOM_4K, operation: 'read', depth, polled: true }) as const,
  ),
];
