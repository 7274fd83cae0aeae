/**
 * A program for tests: opens queues with a completion descriptor while it may open hardly any
 * descriptor, and prints what came of it as JSON. To be run with a low limit of open files.
 *
 * Argument: path of a file for the device.
 */
import { closeSync, openSync } from 'node:fs';
import { Blkio, BlkioError } from '../../src/blkio/index.ts';
import { openDescriptors } from './open-descriptors.ts';

/** More than a queue takes. */
const MOST_FREE = 8;

/** What came of it. */
export interface ShortageOutcome {
  /** By the number of descriptors that there were left, from 0: an error's code, or `open`. */
  readonly outcomes: readonly string[];
  /** Descriptors that were open after it, and not before. */
  readonly leaked: readonly string[];
}

function fillDescriptorTable(): number[] {
  const fds: number[] = [];
  for (;;) {
    try {
      fds.push(openSync('/dev/null', 'r'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EMFILE') return fds;
      throw error;
    }
  }
}

function attempt(device: Blkio): string {
  try {
    device.queue(0, { completionFd: true });
    device.removeQueue(0);
    device.addQueue();
    return 'open';
  } catch (error) {
    if (error instanceof BlkioError) return error.code;
    throw error;
  }
}

const device = new Blkio('io_uring');
device.set('path', process.argv[2]);
await device.connect();
await device.start();
const before = openDescriptors();
const fillers = fillDescriptorTable();
const outcomes: string[] = [];
for (let free = 0; free <= MOST_FREE; free++) {
  outcomes.push(attempt(device));
  closeSync(fillers.pop() as number);
}
for (const filler of fillers) closeSync(filler);
const leaked = openDescriptors().filter((line) => !before.includes(line));
device.close();
const outcome: ShortageOutcome = { outcomes, leaked };
process.stdout.write(JSON.stringify(outcome));
