/**
 * The load generator: a process of its own that connects to one back-end and runs workloads as it
 * is told over the process's IPC channel. It is a front-end and driver of the ordinary kind: a
 * split ring of 256 with EVENT_IDX and indirect descriptors, asleep on its call descriptor while
 * nothing is finished.
 */
import { createHistogram } from 'node:perf_hooks';
import { AttachedHome, createReactor, exitNow } from '../src/sys/index.ts';
import { DriverConnection, GuestRam } from '../src/testing/index.ts';
import { LoadQueue } from './load-queue.ts';
import type { Measurement, Workload } from './workload.ts';

/** A run to do. */
export interface ClientCommand {
  readonly workload: Workload;
  readonly seconds: number;
  readonly diskBytes: number;
}

/** The client's answer; the server's processor time is not its business. */
export type ClientResult = Omit<Measurement, 'serverCpuSeconds'>;

const QUEUE_SIZE = 256;
const RAM_BYTES = 64 * 1024 * 1024;
const GUEST_BASE = 0x1_0000_0000;
const NANOSECONDS_PER_US = 1000;
/** Turns between looks at the clock. */
const TURNS_PER_CLOCK = 16;

function run(queues: readonly LoadQueue[], command: ClientCommand): ClientResult {
  const { workload, diskBytes, seconds } = command;
  const latencies = createHistogram({ figures: 3 });
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  for (const queue of queues) queue.begin(workload, diskBytes);
  let requests = 0;
  let isOver = false;
  for (let turn = 0; queues.some((queue) => queue.inFlight > 0); turn++) {
    let done = 0;
    for (const queue of queues) done += queue.turn(workload, diskBytes, isOver, latencies);
    requests += done;
    // With several queues there is no one descriptor to sleep on: then the client polls.
    if (done === 0 && !workload.polled && queues.length === 1) queues[0].sleep();
    if (turn % TURNS_PER_CLOCK === 0) isOver = performance.now() >= endMs;
  }
  const elapsedMs = performance.now() - startedMs;
  const us = (percentile: number): number => latencies.percentile(percentile) / NANOSECONDS_PER_US;
  return { requests, seconds: elapsedMs / 1000, p50Us: us(50), p99Us: us(99), p999Us: us(99.9) };
}

async function main(socketPath: string): Promise<void> {
  const { reactor } = createReactor('attached');
  new AttachedHome(reactor);
  const connection = await DriverConnection.open({
    reactor,
    socketPath,
    numQueues: 2,
    queueSize: QUEUE_SIZE,
    ram: new GuestRam([{ guestAddress: GUEST_BASE, sizeBytes: RAM_BYTES }]),
  });
  const queues = connection.queues.map((queue) => new LoadQueue(connection, queue));
  process.on('disconnect', () => exitNow(0));
  process.on('message', (command: ClientCommand) => {
    process.send?.(run(queues.slice(0, command.workload.queues), command));
  });
  process.send?.('ready');
}

await main(process.argv[2]);
