/**
 * What a queue has done: numbers in shared memory, written by its reactor, read by anybody.
 * Each queue has its own row, so no two threads write to one number.
 */
import { RequestType, Status } from './constants.ts';

/** The counters of a queue, in the order of their row. */
export const COUNTER_NAMES = [
  'reads',
  'writes',
  'flushes',
  'discards',
  'writeZeroes',
  'getIds',
  'readBytes',
  'writtenBytes',
  /** Requests answered IOERR because the disk failed. */
  'diskErrors',
  /** Requests answered IOERR because the request was wrong. */
  'invalidRequests',
  /** Requests answered UNSUPP. */
  'unsupportedRequests',
  /** Times the driver was notified. */
  'calls',
  /** Times the queue was stopped because its ring made no sense. */
  'brokenRings',
  /** Writes to guest memory that the front-end's dirty log does not reach. */
  'logMisses',
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

/** Index of each counter in a row. */
export const Counter: Readonly<Record<CounterName, number>> = Object.fromEntries(
  COUNTER_NAMES.map((name, index) => [name, index]),
) as Record<CounterName, number>;

/** Values by name. */
export type CounterValues = Record<CounterName, number>;

/** Shared memory for the counters of `queues` queues. */
export function createCounters(queues: number): SharedArrayBuffer {
  return new SharedArrayBuffer(queues * COUNTER_NAMES.length * Float64Array.BYTES_PER_ELEMENT);
}

/** One queue's row. */
export function counterRow(counters: SharedArrayBuffer, queue: number): Float64Array {
  const rowBytes = COUNTER_NAMES.length * Float64Array.BYTES_PER_ELEMENT;
  return new Float64Array(counters, queue * rowBytes, COUNTER_NAMES.length);
}

/** The sums over all queues. */
export function readCounters(counters: SharedArrayBuffer): CounterValues {
  const all = new Float64Array(counters);
  const sum = (column: number): number =>
    all.reduce((total, value, at) => total + (at % COUNTER_NAMES.length === column ? value : 0), 0);
  return Object.fromEntries(COUNTER_NAMES.map((name, at) => [name, sum(at)])) as CounterValues;
}

/** Count a request that the disk has done; `bytes` were read or written. */
export function countDone(counters: Float64Array, type: number, bytes: number): void {
  if (type === RequestType.IN) {
    counters[Counter.reads] += 1;
    counters[Counter.readBytes] += bytes;
  } else if (type === RequestType.OUT) {
    counters[Counter.writes] += 1;
    counters[Counter.writtenBytes] += bytes;
  } else if (type === RequestType.FLUSH) counters[Counter.flushes] += 1;
  else if (type === RequestType.DISCARD) counters[Counter.discards] += 1;
  else counters[Counter.writeZeroes] += 1;
}

/** Count a request that never reached the disk. */
export function countAnswered(counters: Float64Array, type: number, status: number): void {
  let counter = Counter.invalidRequests;
  if (status === Status.UNSUPP) counter = Counter.unsupportedRequests;
  // Besides GET_ID, only transfers of no bytes are answered OK without the disk.
  else if (status === Status.OK && type === RequestType.GET_ID) counter = Counter.getIds;
  else if (status === Status.OK) {
    counter = type === RequestType.IN ? Counter.reads : Counter.writes;
  }
  counters[counter] += 1;
}
