/**
 * A thread of a benchmark: takes its queues, says so, waits for the others, and drives the queues
 * until the time is up.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { adoptQueue, BlkioError, MemoryRegion } from '../../blkio/index.ts';
import { SystemError } from '../../sys/index.ts';
import { buffersBytes, strideBytes } from './bench-device.ts';
import { BenchLane } from './bench-lane.ts';
import { ControlWord, type ThreadMessage, type ThreadPlan } from './bench-plan.ts';

function openLanes(plan: ThreadPlan): BenchLane[] {
  const { load, firstQueue, allQueues, capacityBytes } = plan;
  const region = MemoryRegion.adopt(plan.region);
  const queueBytes = buffersBytes(load);
  const stride = strideBytes(load.blockBytes);
  return plan.queues.map((handle, at) => {
    const index = firstQueue + at;
    const all = region.view(index * queueBytes, queueBytes);
    const buffers = Array.from({ length: load.depth }, (_, place) =>
      all.subarray(place * stride, place * stride + load.blockBytes),
    );
    const queue = adoptQueue(handle);
    return new BenchLane({ queue, load, capacityBytes, buffers, index, lanes: allQueues });
  });
}

/** Drive the lanes. A single one sleeps when it waits; several are looked at in turn. */
function runUntil(endMs: number, lanes: readonly BenchLane[], control: Int32Array): void {
  const mayWait = lanes.length === 1;
  for (;;) {
    const nowMs = performance.now();
    if (nowMs >= endMs || Atomics.load(control, ControlWord.STOP) !== 0) return;
    for (let index = 0; index < lanes.length; index++) lanes[index].turn(nowMs, mayWait);
  }
}

function work(plan: ThreadPlan, say: (message: ThreadMessage) => void): void {
  const control = new Int32Array(plan.control);
  const lanes = openLanes(plan);
  say({ kind: 'ready' });
  Atomics.wait(control, ControlWord.GO, 0);
  const nowMs = performance.now();
  for (const lane of lanes) lane.begin(nowMs);
  runUntil(nowMs + plan.load.runtimeMs, lanes, control);
  const results = lanes.map((lane) => lane.result());
  for (const lane of lanes) lane.drain();
  say({ kind: 'done', lanes: results });
}

const port = parentPort;
if (port === null) throw new Error('this module is the body of a worker thread');
const say = (message: ThreadMessage): void => port.postMessage(message);
try {
  work(workerData as ThreadPlan, say);
} catch (error) {
  if (!(error instanceof BlkioError || error instanceof SystemError)) throw error;
  say({ kind: 'failed', message: error.message });
}
