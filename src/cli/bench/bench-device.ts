/** The device of a benchmark: opened in the main thread, its queues shared out to the others. */
import { type Blkio, MemoryRegion } from '../../blkio/index.ts';
import { connectDevice, createDevice, type DeviceArguments } from '../device-arguments.ts';
import { UsageError } from '../program.ts';
import type { LoadPlan, ThreadPlan } from './bench-plan.ts';

const PAGE_BYTES = 4096;

/** What is to be measured. */
export interface BenchPlan {
  readonly device: DeviceArguments;
  readonly load: LoadPlan;
  readonly poll: boolean;
  readonly threads: number;
  /** Of all threads together, at least one each. */
  readonly queues: number;
}

/** Check what the device can do before it refuses the first request. @throws UsageError. */
function checkLoad(device: Blkio, { load, poll }: BenchPlan): void {
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

/** Bytes of one queue's buffers: each begins a page. */
export function buffersBytes({ depth, blockBytes }: LoadPlan): number {
  return depth * strideBytes(blockBytes);
}

/** From one buffer to the next. */
export function strideBytes(blockBytes: number): number {
  return Math.ceil(blockBytes / PAGE_BYTES) * PAGE_BYTES;
}

/** A region for all buffers. */
function allocateBuffers(device: Blkio, { load, queues }: BenchPlan): MemoryRegion {
  const alignment = Math.max(PAGE_BYTES, Number(device.getTyped('mem-region-alignment', 'uint64')));
  const queueBytes = buffersBytes(load);
  const region = MemoryRegion.allocate(Math.ceil((queueBytes * queues) / alignment) * alignment);
  for (let queue = 0; queue < queues; queue++) {
    const all = region.view(queue * queueBytes, queueBytes);
    // Not zeros: some back-ends store those as holes.
    for (let at = 0; at < all.length; at++) all[at] = (at * 167 + 1) & 0xff;
  }
  return region;
}

/**
 * Open the device, and plan what each thread does with its queues.
 *
 * @throws UsageError; BlkioError: the device can't be reached.
 */
export async function openBenchDevice(plan: BenchPlan): Promise<Omit<ThreadPlan, 'control'>[]> {
  const { load, poll, queues, threads } = plan;
  const device = createDevice(plan.device);
  await connectDevice(device, plan.device);
  checkLoad(device, plan);
  device.set('num-queues', poll ? 0 : queues);
  if (poll) device.set('num-poll-queues', queues);
  const region = allocateBuffers(device, plan);
  await device.start();
  await device.mapRegion(region);
  const firstOf = (thread: number): number => Math.floor((queues * thread) / threads);
  return Array.from({ length: threads }, (_, thread) => {
    const firstQueue = firstOf(thread);
    const numbers = Array.from(
      { length: firstOf(thread + 1) - firstQueue },
      (_queue, index) => firstQueue + index,
    );
    return {
      load,
      queues: numbers.map((number) =>
        poll ? device.sharePollQueue(number) : device.shareQueue(number),
      ),
      ...{ firstQueue, allQueues: queues },
      region: region.share(),
      capacityBytes: device.capacityBytes,
    };
  });
}
