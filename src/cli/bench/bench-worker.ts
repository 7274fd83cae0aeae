/**
 * A thread of a benchmark: opens the device, says so, waits for the others, and drives its queues
 * until the time is up.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { type Blkio, BlkioError, MemoryRegion } from '../../blkio/index.ts';
import { SystemError } from '../../sys/index.ts';
import { connectDevice, createDevice } from '../device-arguments.ts';
import { UsageError } from '../program.ts';
import { BenchLane } from './bench-lane.ts';
import { ControlWord, type ThreadMessage, type ThreadPlan } from './bench-plan.ts';

const PAGE_BYTES = 4096;
/** Between looks whether a back-end that went away is there again. */
const RECONNECT_LOOK_MS = 10;

/** Check what the device can do before it refuses the first request. */
function checkLoad(device: Blkio, { load, poll }: ThreadPlan): void {
  const alignment = device.getTyped('request-alignment', 'int');
  const capacity = device.capacityBytes;
  if (load.blockBytes % alignment !== 0) {
    const reason = `the device has blocks of ${alignment} bytes`;
    throw new UsageError(`--blocksize ${load.blockBytes}: ${reason}`);
  }
  if (load.blockBytes > capacity) {
    const reason = `the device has only ${capacity} bytes`;
    throw new UsageError(`--blocksize ${load.blockBytes}: ${reason}`);
  }
  if (poll && !device.getTyped('supports-poll-queues', 'bool')) {
    const driver = device.getTyped('driver', 'str');
    throw new UsageError(`--poll: the driver ${driver} has no poll queues`);
  }
}

/** A region for the buffers of all lanes, each a list. */
function allocateBuffers(device: Blkio, plan: ThreadPlan): [MemoryRegion, Uint8Array[][]] {
  const { depth, blockBytes } = plan.load;
  const alignment = Math.max(PAGE_BYTES, Number(device.getTyped('mem-region-alignment', 'uint64')));
  const strideBytes = Math.ceil(blockBytes / PAGE_BYTES) * PAGE_BYTES;
  const laneBytes = depth * strideBytes;
  const sizeBytes = Math.ceil((laneBytes * plan.queues) / alignment) * alignment;
  const region = MemoryRegion.allocate(sizeBytes);
  const lanes = Array.from({ length: plan.queues }, (_, lane) => {
    const all = region.view(lane * laneBytes, laneBytes);
    // Not zeros: some back-ends store those as holes.
    for (let at = 0; at < all.length; at++) all[at] = (at * 167 + 1) & 0xff;
    return Array.from({ length: depth }, (_, place) =>
      all.subarray(place * strideBytes, place * strideBytes + blockBytes),
    );
  });
  return [region, lanes];
}

async function open(plan: ThreadPlan): Promise<BenchLane[]> {
  const { queues, poll, load } = plan;
  const device = createDevice(plan.device);
  await connectDevice(device, plan.device);
  checkLoad(device, plan);
  device.set('num-queues', poll ? 0 : queues);
  if (poll) device.set('num-poll-queues', queues);
  const [region, buffers] = allocateBuffers(device, plan);
  await device.start();
  await device.mapRegion(region);
  return buffers.map((own, index) => {
    const queue = poll ? device.pollQueue(index) : device.queue(index);
    const at = { index: plan.firstQueue + index, lanes: plan.allQueues };
    return new BenchLane({
      ...{ queue, load, buffers: own },
      capacityBytes: device.capacityBytes,
      ...at,
    });
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

/** The event loop connects again to a back-end that went away. */
async function acrossReconnections(body: () => void): Promise<void> {
  for (;;) {
    try {
      body();
      return;
    } catch (error) {
      if (!(error instanceof BlkioError) || error.code !== 'ENOTCONN') throw error;
      await delay(RECONNECT_LOOK_MS);
    }
  }
}

async function work(plan: ThreadPlan, say: (message: ThreadMessage) => void): Promise<void> {
  const control = new Int32Array(plan.control);
  const lanes = await open(plan);
  say({ kind: 'ready' });
  Atomics.wait(control, ControlWord.GO, 0);
  const nowMs = performance.now();
  for (const lane of lanes) lane.begin(nowMs);
  await acrossReconnections(() => runUntil(nowMs + plan.load.runtimeMs, lanes, control));
  const results = lanes.map((lane) => lane.result());
  await acrossReconnections(() => {
    for (const lane of lanes) lane.drain();
  });
  say({ kind: 'done', lanes: results });
}

const port = parentPort;
if (port === null) throw new Error('this module is the body of a worker thread');
const say = (message: ThreadMessage): void => port.postMessage(message);
try {
  await work(workerData as ThreadPlan, say);
} catch (error) {
  const isUsage = error instanceof UsageError;
  const isKnown = isUsage || error instanceof BlkioError || error instanceof SystemError;
  if (!isKnown) throw error;
  say({ kind: 'failed', message: error.message, isUsage });
}
