/**
 * A program for tests: a device with a blocking queue that asks for more and more, while whoever
 * started it kills the server. Prints `loaded` once requests are done, then a line with what came
 * of it; that it ends by itself is tested, too.
 *
 * Arguments: socket path, `reconnect-ms`, `queue` or `pollQueue`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Blkio, BlkioError, CompletionList, type Queue } from '../../src/blkio/index.ts';

const DEPTH = 300;
const ECONNRESET = -104;
/** Far more than is done before the kill. */
const MAX_ROUNDS = 100_000;

/** What came of it. */
export interface BlockingOutcome {
  /** What `doIo` threw while the server was away, in order. */
  readonly thrown: readonly string[];
  /** Requests done, and those that failed with ECONNRESET. */
  readonly done: number;
  readonly failed: number;
  /** Results other than these. */
  readonly others: readonly number[];
  /** Made after the loss: completions of one `doIo`, and how many failed with ECONNRESET. */
  readonly later: number;
  readonly laterFailed: number;
}

const [path, reconnectMs, kind] = process.argv.slice(2);
const device = new Blkio('virtio-blk-vhost-user');
device.set('path', path);
device.set('reconnect-ms', Number(reconnectMs));
await device.connect();
if (kind === 'pollQueue') {
  device.set('num-queues', 0);
  device.set('num-poll-queues', 1);
}
await device.start();
const queue = kind === 'pollQueue' ? device.pollQueue(0) : device.queue(0);
const completions = new CompletionList(DEPTH);
const buffer = new Uint8Array(4096);
const others: number[] = [];
const thrown: string[] = [];
let [done, failed] = [0, 0];

function count(): void {
  for (const result of completions.results.subarray(0, completions.count)) {
    if (result === 0) done += 1;
    else if (result === ECONNRESET) failed += 1;
    else others.push(result);
  }
}

/** One `doIo` for all that is outstanding; what it throws is noted, and the event loop gets on. */
async function doAll(from: Queue): Promise<void> {
  try {
    from.doIo(completions, from.outstanding);
  } catch (error) {
    if (!(error instanceof BlkioError)) throw error;
    thrown.push(error.code);
    await sleep(2);
  }
  count();
}

function ask(): void {
  // Some wait for a slot: there are 256.
  while (queue.outstanding < DEPTH) queue.write(queue.outstanding * 4096, buffer);
}

for (let round = 0; round < MAX_ROUNDS && failed === 0; round++) {
  ask();
  await doAll(queue);
  if (round === 10) process.stdout.write('loaded\n');
  // Enough for those who reconnect: it works again.
  if (thrown.length > 0 && queue.outstanding === 0) break;
}
while (queue.outstanding > 0) await doAll(queue);
const failedBefore = failed;
ask();
await doAll(queue);
const outcome: BlockingOutcome = {
  ...{ thrown, done, failed: failedBefore, others },
  later: completions.count,
  laterFailed: failed - failedBefore,
};
device.close();
process.stdout.write(`${JSON.stringify(outcome)}\n`);
