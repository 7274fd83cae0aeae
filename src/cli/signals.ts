/** Signals that programs react to. */
import { type Disk, statsOf } from '../storage/index.ts';
import type { Logger } from '../sys/index.ts';

/** The first signal that asks the program to end; later ones change nothing. */
export function firstStopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
  });
}

/**
 * Look at the size of a disk again, and at what has become of its file's name. One that can't be
 * asked keeps its size.
 *
 * @param look - returns the size in bytes.
 * @param occasion - why, for the log.
 */
export function lookAgain(
  look: () => number,
  disk: Disk,
  logger: Logger,
  occasion = 'SIGHUP',
): void {
  try {
    logger.info(`${occasion}: the disk has ${look()} bytes`);
    const problem = disk.nameProblem?.();
    if (problem !== undefined) logger.warn(`${occasion}: ${problem}`);
  } catch (error) {
    logger.error(`${occasion}: cannot find out the size of the disk: ${(error as Error).message}`);
  }
}

/** SIGUSR1 has disks that count say what they have counted, if there are some. */
export function reportOnSignal(disk: Disk): void {
  const counting = statsOf(disk);
  // Else it is Node's own: it starts the debugger.
  if (counting.length === 0) return;
  process.on('SIGUSR1', () => {
    for (const each of counting) each.report();
  });
}
