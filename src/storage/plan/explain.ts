/** What a disk consists of, and where its requests are served, with reasons: for people. */
import type { Disk } from '../disk.ts';

/** One line for each disk of a chain, those below indented; the first says where all of it runs. */
export function explainDisk(disk: Disk): string[] {
  const because = firstReason(disk);
  const head =
    because === undefined
      ? 'served by queue threads, without promises: nothing in the chain needs an event loop'
      : `served on the event loop of one thread, because of ${because}`;
  return [head, ...linesOf(disk, 1)];
}

function firstReason(disk: Disk): string | undefined {
  for (const below of disk.below) {
    const reason = firstReason(below);
    if (reason !== undefined) return reason;
  }
  return disk.needsEventLoop === undefined ? undefined : `${disk.kind}: ${disk.needsEventLoop}`;
}

function linesOf(disk: Disk, depth: number): string[] {
  const path = disk.needsEventLoop === undefined ? 'no promises' : 'event loop';
  const line = `${'  '.repeat(depth)}${disk.kind} (${path}): ${disk.description}`;
  return [line, ...disk.below.flatMap((below) => linesOf(below, depth + 1))];
}
