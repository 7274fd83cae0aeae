/**
 * The load generator: a process of its own that connects to one device and runs workloads as it is
 * told over the process's IPC channel. With vhost-user it is a driver of the ordinary kind: a split
 * ring (or a packed one) of 256 with EVENT_IDX and indirect descriptors, asleep on its call descriptor while nothing
 * is finished.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { type AsyncQueue, Blkio, MemoryRegion } from '../src/blkio/index.ts';
import { exitNow } from '../src/sys/index.ts';
import { LoadQueue } from './load-queue.ts';
import { runPromises } from './promise-load.ts';
import type { Measurement, Workload } from './workload.ts';

/** What to connect to, and how to use it. */
export interface ClientTarget {
  readonly driver: 'io_uring' | 'virtio-blk-vhost-user';
  readonly path: string;
  readonly isDirect: boolean;
  /** Packed rings; of `virtio-blk-vhost-user` only. */
  readonly packed?: boolean;
  /** `blocking`: one thread that calls `doIo`; `promises`: asynchronous code on the event loop. */
  readonly mode: 'blocking' | 'promises';
}

/** A run to do. */
export interface ClientCommand {
  readonly workload: Workload;
  readonly seconds: number;
  readonly diskBytes: number;
}

/** The client's answer; the server's processor time is not its business. */
export type ClientResult = Omit<Measurement, 'serverCpuSeconds'>;

/** Queues of a device: workloads use one or both. */
const QUEUES = 2;
const REGION_BYTES = 4 * 1024 * 1024;
const NANOSECONDS_PER_US = 1000;
/** Turns between looks at the clock. */
const TURNS_PER_CLOCK = 16;

function percentiles(
  latencies: RecordableHistogram,
): Pick<Measurement, 'p50Us' | 'p99Us' | 'p999Us'> {
  const us = (percentile: number): number => latencies.percentile(percentile) / NANOSECONDS_PER_US;
  return { p50Us: us(50), p99Us: us(99), p999Us: us(99.9) };
}

function runBlocking(queues: readonly LoadQueue[], command: ClientCommand): ClientResult {
  const { workload, diskBytes, seconds } = command;
  const latencies = createHistogram({ figures: 3 });
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  for (const queue of queues) queue.begin(workload, diskBytes);
  // With several queues there is no one thing to sleep on: then the client polls.
  const sleeps = !workload.polled && queues.length === 1;
  let requests = 0;
  let isOver = false;
  for (let turn = 0; queues.some((queue) => queue.inFlight > 0); turn++) {
    for (const queue of queues) requests += queue.turn(sleeps, isOver, latencies);
    if (turn % TURNS_PER_CLOCK === 0) isOver = performance.now() >= endMs;
  }
  const elapsedMs = performance.now() - startedMs;
  return { requests, seconds: elapsedMs / 1000, ...percentiles(latencies) };
}

async function runAsync(
  queue: AsyncQueue,
  region: MemoryRegion,
  command: ClientCommand,
): Promise<ClientResult> {
  const { workload, diskBytes, seconds } = command;
  const result = await runPromises(queue, region, workload, diskBytes, seconds);
  const { requests, elapsedMs, busyMs, latencies } = result;
  const loopUs = (busyMs * 1000) / requests;
  return { requests, seconds: elapsedMs / 1000, loopUs, ...percentiles(latencies) };
}

async function connect(target: ClientTarget): Promise<Blkio> {
  const blkio = new Blkio(target.driver);
  blkio.set('path', target.path);
  if (target.packed) blkio.set('packed', true);
  if (target.driver === 'io_uring') {
    blkio.set('direct', target.isDirect);
    // The peers share the file.
    blkio.set('locking', false);
  }
  await blkio.connect();
  blkio.set('num-queues', QUEUES);
  if (blkio.get('supports-poll-queues')) blkio.set('num-poll-queues', 1);
  await blkio.start();
  return blkio;
}

async function main(target: ClientTarget): Promise<void> {
  const blkio = await connect(target);
  const regions: MemoryRegion[] = [];
  for (let index = 0; index < QUEUES; index++) {
    const region = MemoryRegion.allocate(REGION_BYTES);
    await blkio.mapRegion(region);
    regions.push(region);
  }
  const answer = (result: ClientResult): void => void process.send?.(result);
  process.on('disconnect', () => exitNow(0));
  if (target.mode === 'promises') {
    const queue = blkio.asyncQueue(0);
    process.on('message', (command: ClientCommand) => {
      void runAsync(queue, regions[0], command).then(answer);
    });
  } else {
    const queues = regions.map((region, index) => new LoadQueue(blkio.queue(index), region));
    // Where there are none, looking at an ordinary queue all the time has to do.
    const polled = blkio.get('num-poll-queues') === 1 ? blkio.pollQueue(0) : undefined;
    const pollQueue = polled === undefined ? queues[0] : new LoadQueue(polled, regions[0]);
    process.on('message', (command: ClientCommand) => {
      const { workload } = command;
      const used = workload.polled ? [pollQueue] : queues.slice(0, workload.queues);
      answer(runBlocking(used, command));
    });
  }
  process.send?.('ready');
}

await main(JSON.parse(process.argv[2]) as ClientTarget);
