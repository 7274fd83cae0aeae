/** The results of a run as one table in Markdown, for documents. */
import type { Result } from './statistics.ts';

/** What one workload showed on one medium, by peer. */
export interface WorkloadReport {
  readonly workload: string;
  readonly results: Readonly<Record<string, Result>>;
}

/** What one medium showed. */
export interface MediumReport {
  readonly medium: string;
  readonly workloads: readonly WorkloadReport[];
}

function cell({ results }: WorkloadReport): string {
  const { vhostkit, ...peers } = results;
  if (vhostkit === undefined) return '';
  const thousands = vhostkit.iops / 1000;
  const rate = thousands.toFixed(thousands < 100 ? 1 : 0);
  const ratios = Object.values(peers).map(({ iops }) => (vhostkit.iops / iops).toFixed(2));
  return ratios.length === 0 ? rate : `${rate} (${ratios.join(', ')})`;
}

/**
 * A row for each workload, a column for each medium. In a cell: thousands of requests a second with
 * vhostkit, and how many times the rate of each peer that is.
 */
export function markdownSummary(media: readonly MediumReport[]): string {
  const workloads = [...new Set(media.flatMap((each) => each.workloads.map((w) => w.workload)))];
  const rows = workloads.map((name) => [
    name,
    ...media.map(({ workloads: measured }) => {
      const report = measured.find(({ workload }) => workload === name);
      return report === undefined ? '' : cell(report);
    }),
  ]);
  const header = ['thousand requests/s', ...media.map(({ medium }) => medium)];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
