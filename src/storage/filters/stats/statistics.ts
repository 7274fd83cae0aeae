/** What all threads have counted, as of one moment; and what of it has come since an earlier one. */
import { LatencyHistogram } from './latency-histogram.ts';
import { OPERATIONS, type StatisticsRow } from './statistics-row.ts';

export type StatisticsOperation = (typeof OPERATIONS)[number];

/** Of one kind of request. */
export interface OperationStatistics {
  /** Requests that went well. */
  readonly requests: number;
  readonly bytes: number;
  /** Requests that failed. */
  readonly errors: number;
  /** How long those that went well took. */
  readonly latency: LatencyHistogram;
}

/** See the module's comment. */
export interface Statistics {
  /** Since the disk was opened, or since the earlier moment. */
  readonly elapsedMs: number;
  readonly operations: Readonly<Record<StatisticsOperation, OperationStatistics>>;
  /** Requests under way now. */
  readonly underWay: number;
  /** Requests under way on average. */
  readonly meanUnderWay: number;
  /** Most requests of one queue that were under way at once, ever. */
  readonly maxDepth: number;
}

/** Add up what threads have counted. */
export function addUp(rows: readonly StatisticsRow[], elapsedMs: number): Statistics {
  const sum = (of: (row: StatisticsRow) => number): number => {
    return rows.reduce((total, row) => total + of(row), 0);
  };
  const operationOf = (operation: number): OperationStatistics => {
    const latency = new LatencyHistogram();
    for (const row of rows) latency.merge(row.histograms[operation]);
    return {
      requests: sum((row) => row.requests(operation)),
      bytes: sum((row) => row.bytes(operation)),
      errors: sum((row) => row.errors(operation)),
      latency,
    };
  };
  const maxDepth = Math.max(...rows.map((row) => row.maxDepth));
  return complete(
    elapsedMs,
    sum((row) => row.underWay),
    maxDepth,
    operationOf,
  );
}

/** What has come between two moments. The shortest and longest latency are those of all time. */
export function between(earlier: Statistics, later: Statistics): Statistics {
  const operationOf = (operation: number): OperationStatistics => {
    const before = earlier.operations[OPERATIONS[operation]];
    const after = later.operations[OPERATIONS[operation]];
    return {
      requests: after.requests - before.requests,
      bytes: after.bytes - before.bytes,
      errors: after.errors - before.errors,
      latency: after.latency.since(before.latency),
    };
  };
  const elapsedMs = later.elapsedMs - earlier.elapsedMs;
  return complete(elapsedMs, later.underWay, later.maxDepth, operationOf);
}

function complete(
  elapsedMs: number,
  underWay: number,
  maxDepth: number,
  operationOf: (operation: number) => OperationStatistics,
): Statistics {
  const entries = OPERATIONS.map((name, operation) => [name, operationOf(operation)] as const);
  const operations = Object.fromEntries(entries) as Statistics['operations'];
  const busyUs = entries.reduce((total, [, { latency }]) => total + latency.totals[1], 0);
  // Little's law: what all of them took together, over the time they took it in.
  const meanUnderWay = elapsedMs > 0 ? busyUs / 1000 / elapsedMs : 0;
  return { elapsedMs, operations, underWay, meanUnderWay, maxDepth };
}
