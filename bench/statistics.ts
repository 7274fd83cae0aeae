/** Medians over the rounds of a measurement, and figures for people. */
import type { Measurement } from './workload.ts';

/** What a peer reached with a workload: medians over rounds. */
export interface Result {
  readonly iops: number;
  readonly megabytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  /** Processor seconds of the server for a million requests. */
  readonly cpuSecondsPerMillion: number;
  /** Time of the client's event loop for a request; of promises only. */
  readonly loopUs?: number;
  /** IOPS of each round, to show the spread. */
  readonly roundsIops: readonly number[];
}

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Sum up the rounds of a workload with blocks of `blockBytes`. */
export function summarise(rounds: readonly Measurement[], blockBytes: number): Result {
  const of = (figure: (round: Measurement) => number): number => median(rounds.map(figure));
  const iops = of(({ requests, seconds }) => requests / seconds);
  const loops = rounds.flatMap(({ loopUs }) => loopUs ?? []);
  return {
    ...(loops.length === 0 ? {} : { loopUs: median(loops) }),
    iops,
    megabytesPerSecond: (iops * blockBytes) / 1e6,
    p50Us: of(({ p50Us }) => p50Us),
    p99Us: of(({ p99Us }) => p99Us),
    p999Us: of(({ p999Us }) => p999Us),
    cpuSecondsPerMillion: of(
      ({ serverCpuSeconds, requests }) => (serverCpuSeconds * 1e6) / requests,
    ),
    roundsIops: rounds.map(({ requests, seconds }) => requests / seconds),
  };
}

/** A table of text: columns padded, the first to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
        )
        .join('  '),
    )
    .join('\n');
}
