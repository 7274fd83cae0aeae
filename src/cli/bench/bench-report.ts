/** Results of a benchmark: libblkio's JSON with a few fields more, and text for people. */

import { LatencyHistogram } from '../../storage/index.ts';
import type { LaneResult } from './bench-plan.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const PERCENTILES = [50, 90, 99, 99.9];
const BAR_WIDTH = 40;

/** What queues have done together: of a thread, or of all. */
export interface LoadResult {
  readonly kiops: number;
  readonly gips: number;
  readonly histogram: LatencyHistogram;
  readonly reads: number;
  readonly writes: number;
  readonly calls: number;
  readonly minCompletions: number;
  readonly maxCompletions: number;
}

/** Put the results of queues together. */
export function combine(lanes: readonly LaneResult[], blockBytes: number): LoadResult {
  const histogram = new LatencyHistogram();
  let iops = 0;
  for (const { seconds, counts, totals } of lanes) {
    const own = new LatencyHistogram(counts, totals);
    histogram.merge(own);
    if (seconds > 0) iops += own.count / seconds;
  }
  const sum = (value: (lane: LaneResult) => number): number =>
    lanes.reduce((total, lane) => total + value(lane), 0);
  const used = lanes.filter(({ maxCompletions }) => maxCompletions > 0);
  return {
    kiops: iops / 1000,
    gips: (iops * blockBytes) / GIB,
    histogram,
    reads: sum(({ reads }) => reads),
    writes: sum(({ writes }) => writes),
    calls: sum(({ calls }) => calls),
    minCompletions: used.length === 0 ? 0 : Math.min(...used.map((lane) => lane.minCompletions)),
    maxCompletions: Math.max(0, ...used.map((lane) => lane.maxCompletions)),
  };
}

function round(value: number): number {
  return Number(value.toFixed(3));
}

/** The fields that libblkio's program prints, and percentiles, reads and writes. */
function jsonObject(result: LoadResult): Record<string, number> {
  const { histogram, calls } = result;
  const percentiles = PERCENTILES.map((percent): [string, number] => [
    `p${String(percent).replace('.', '_')}_lat_us`,
    round(histogram.percentileUs(percent)),
  ]);
  return {
    kiops: round(result.kiops),
    gips: round(result.gips),
    min_lat_us: round(histogram.minUs),
    mean_lat_us: round(histogram.meanUs),
    max_lat_us: round(histogram.maxUs),
    ...Object.fromEntries(percentiles),
    calls,
    completions: histogram.count,
    min_completions: result.minCompletions,
    mean_completions: calls === 0 ? 0 : round(histogram.count / calls),
    max_completions: result.maxCompletions,
    reads: result.reads,
    writes: result.writes,
  };
}

/** `--output json`. */
export function jsonReport(aggregate: LoadResult, threads: readonly LoadResult[]): string {
  const report = { aggregate: jsonObject(aggregate), threads: threads.map(jsonObject) };
  return `${JSON.stringify(report, undefined, 2)}\n`;
}

function duration(us: number): string {
  if (us < 1000) return `${us.toFixed(us < 100 ? 1 : 0)} us`;
  return us < 1e6 ? `${(us / 1000).toPrecision(3)} ms` : `${(us / 1e6).toPrecision(3)} s`;
}

function bound(us: number): string {
  if (us < 1024) return `${us} us`;
  return us < 1024 ** 2 ? `${us / 1024} ms` : `${us / 1024 ** 2} s`;
}

function histogramLines(histogram: LatencyHistogram): string[] {
  const ranges = histogram.ranges();
  const most = Math.max(...ranges.map(({ count }) => count));
  return ranges.map(({ toUs, count }) => {
    const percent = `${((count * 100) / histogram.count).toFixed(2)} %`;
    const bar = '#'.repeat(Math.ceil((count * BAR_WIDTH) / most));
    return `  below ${bound(toUs).padStart(6)} ${percent.padStart(9)}  ${bar}`.trimEnd();
  });
}

function rateText({ kiops, gips }: LoadResult): string {
  const bytes = gips >= 1 ? `${gips.toFixed(2)} GiB/s` : `${((gips * GIB) / MIB).toFixed(1)} MiB/s`;
  return `${(kiops * 1000).toFixed(0)} requests/s, ${bytes}`;
}

/** `--output text`. */
export function textReport(aggregate: LoadResult, threads: readonly LoadResult[]): string {
  const { histogram, reads, writes } = aggregate;
  if (histogram.count === 0) return 'no request was completed\n';
  const percentiles = PERCENTILES.map(
    (percent) => `p${percent} ${duration(histogram.percentileUs(percent))}`,
  );
  const lines = [
    `rate      ${rateText(aggregate)}`,
    `requests  ${histogram.count} (${reads} reads, ${writes} writes)`,
    `latency   min ${duration(histogram.minUs)}, mean ${duration(histogram.meanUs)}, max ${duration(histogram.maxUs)}`,
    `          ${percentiles.join(', ')}`,
    ...histogramLines(histogram),
  ];
  if (threads.length > 1) {
    threads.forEach((thread, index) => {
      const mean = duration(thread.histogram.meanUs);
      lines.push(`thread ${index}  ${rateText(thread)}, mean latency ${mean}`);
    });
  }
  return `${lines.join('\n')}\n`;
}
