/** Statistics as lines for people. */
import { writtenName } from '../../plan/disk-kind.ts';
import type { OperationStatistics, Statistics } from './statistics.ts';

const PERCENTILES = [50, 99, 99.9];
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A line for each kind of request there was, and one for all; in words if there was none. */
export function statisticsLines(statistics: Statistics): string[] {
  const { elapsedMs, operations, underWay, meanUnderWay, maxDepth } = statistics;
  const seconds = elapsedMs / 1000;
  const lines = Object.entries(operations)
    .filter(([, { requests, errors }]) => requests + errors > 0)
    .map(([name, operation]) => operationLine(writtenName(name), operation, seconds));
  if (lines.length === 0 && underWay === 0) return [`no requests in ${seconds.toFixed(1)} s`];
  const depth = `under way: ${underWay} now, ${meanUnderWay.toFixed(2)} on average`;
  return [...lines, `${depth}, at most ${maxDepth} of one queue; ${seconds.toFixed(1)} s`];
}

function operationLine(name: string, operation: OperationStatistics, seconds: number): string {
  const { requests, bytes, errors, latency } = operation;
  const perSecond = (amount: number): number => (seconds > 0 ? amount / seconds : 0);
  const data = bytes > 0 ? `, ${sizeText(bytes)} (${sizeText(perSecond(bytes))}/s)` : '';
  const failed = errors > 0 ? `, ${errors} failed` : '';
  const count = `${name}: ${requests} (${perSecond(requests).toFixed(0)}/s)${data}${failed}`;
  if (requests === 0) return count;
  const shares = PERCENTILES.map((each) => `${each}% ${timeText(latency.percentileUs(each))}`);
  const mean = `mean ${timeText(latency.meanUs)}`;
  return `${count}; ${[mean, ...shares, `max ${timeText(latency.maxUs)}`].join(', ')}`;
}

/** `1.5 MiB`. */
function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${value.toFixed(unit === 0 ? 0 : 1)} ${UNITS[unit]}`;
}

/** `12.3 us`, `4.5 ms`, `6.7 s`. */
function timeText(us: number): string {
  if (us < 1000) return `${us.toFixed(1)} us`;
  return us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`;
}
