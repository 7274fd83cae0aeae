/** A thread for tests that uses a queue of another thread's device: see `QueueThreadPlan`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { adoptAsyncQueue, adoptQueue, BlkioError, MemoryRegion } from '../../src/blkio/index.ts';
import { BlockingLoad, loadBytes } from './blocking-load.ts';
import { LoadWord, type QueueThreadOutcome, type QueueThreadPlan } from './queue-thread-plan.ts';
import { awaitReadable } from './readable-descriptor.ts';
import { patternBytes } from './request-bytes.ts';

const BLOCK_BYTES = 4096;
/** Long enough to sleep, short enough to be told to stop. */
const LOOK_MS = 20;

function buffersFor(plan: QueueThreadPlan, region: MemoryRegion | undefined): Uint8Array[] {
  return Array.from({ length: plan.lanes }, (_, lane) =>
    region === undefined
      ? new Uint8Array(BLOCK_BYTES)
      : region.view(lane * BLOCK_BYTES, BLOCK_BYTES),
  );
}

/** Take some completions, or sleep for a while. */
function collectSome(load: BlockingLoad): void {
  try {
    load.collect(LOOK_MS);
  } catch (error) {
    if (!(error instanceof BlkioError) || error.code !== 'ETIME') throw error;
  }
}

function blockingLoad(plan: QueueThreadPlan, words: Int32Array): QueueThreadOutcome {
  const region = plan.region && MemoryRegion.adopt(plan.region);
  const isEventDriven = plan.mode === 'event-driven';
  const queue = adoptQueue(plan.handle, { completionFd: isEventDriven });
  if (isEventDriven) queue.setCompletionFdEnabled(true);
  const load = new BlockingLoad(queue, buffersFor(plan, region), plan.startBytes);
  while (Atomics.load(words, LoadWord.STOP) === 0 && load.ask()) {
    if (!isEventDriven) collectSome(load);
    else if (load.takeDone() === 0) awaitReadable(queue.completionFd);
    Atomics.store(words, LoadWord.DONE, load.done);
  }
  load.drain();
  const { done, failures, model } = load;
  const { bounced } = queue;
  queue.close();
  region?.[Symbol.dispose]();
  return { done, failures, bounced, model };
}

/** One request at a time on each lane: a write, then a read of the same. */
async function promiseLoad(plan: QueueThreadPlan, words: Int32Array): Promise<QueueThreadOutcome> {
  const queue = adoptAsyncQueue(plan.handle);
  const model = new Uint8Array(loadBytes(plan.lanes));
  const failures: string[] = [];
  let done = 0;
  const laneBytes = model.length / plan.lanes;
  const runLane = async (buffer: Uint8Array, lane: number): Promise<void> => {
    for (let round = 0; Atomics.load(words, LoadWord.STOP) === 0; round++) {
      const at = lane * laneBytes + ((round * BLOCK_BYTES) % laneBytes);
      const data = patternBytes(BLOCK_BYTES, at + round);
      await queue.write(plan.startBytes + at, data);
      model.set(data, at);
      await queue.read(plan.startBytes + at, buffer);
      if (Buffer.compare(buffer, data) !== 0) throw new Error(`other data at ${at}`);
      done += 2;
      Atomics.store(words, LoadWord.DONE, done);
    }
  };
  const lanes = buffersFor(plan, undefined).map(async (buffer, lane) => {
    try {
      await runLane(buffer, lane);
    } catch (error) {
      if (!(error instanceof BlkioError)) throw error;
      failures.push(error.code);
    }
  });
  await Promise.all(lanes);
  const { bounced } = queue;
  queue.close();
  // Finalizers and closings are the event loop's.
  await sleep(0);
  return { done, failures, bounced, model };
}

const plan = workerData as QueueThreadPlan;
const words = new Int32Array(plan.words);
const outcome =
  plan.mode === 'promises' ? await promiseLoad(plan, words) : blockingLoad(plan, words);
parentPort?.postMessage(outcome);
