/** A request in a trace: as a line of JSON that programs read, and as one that people do. */
import { DiskOperation } from '../../disk-requests.ts';

/** Names of operations in traces. */
export const TRACE_OPERATIONS = {
  read: DiskOperation.READ,
  write: DiskOperation.WRITE,
  flush: DiskOperation.FLUSH,
  discard: DiskOperation.DISCARD,
  zero: DiskOperation.WRITE_ZEROES,
} as const;

export type TraceOperation = keyof typeof TRACE_OPERATIONS;

/** Flags of a request. */
export const TRACE_FLAGS = ['stable', 'unmap', 'fast'] as const;
export type TraceFlag = (typeof TRACE_FLAGS)[number];

/** See the module's comment. */
export interface TraceRecord {
  /** In the order of arrival, from 0. */
  readonly n: number;
  /** When it came, since the trace began. Microseconds. */
  readonly at: number;
  /** Requests under way when it came, itself included. */
  readonly depth: number;
  readonly op: TraceOperation;
  /** Bytes; 0 for a flush. */
  readonly offset: number;
  readonly length: number;
  readonly flags: readonly TraceFlag[];
  /** How long it took. Microseconds. */
  readonly us: number;
  /** `ok`, or the name of a system error. */
  readonly result: string;
}

/** What a trace begins with. */
export interface TraceHeader {
  readonly trace: 'vhostkit';
  readonly version: 1;
  /** When it began, ISO 8601. */
  readonly time: string;
  readonly sizeBytes: number;
}

export const TRACE_FORMATS = ['text', 'json'] as const;
export type TraceFormat = (typeof TRACE_FORMATS)[number];

/** The first line. */
export function headerLine(header: TraceHeader, format: TraceFormat): string {
  if (format === 'json') return JSON.stringify(header);
  return `${header.time} trace of a disk of ${header.sizeBytes} bytes`;
}

/** The line of a request. @param startMs - when the trace began, in milliseconds since 1970. */
export function recordLine(record: TraceRecord, format: TraceFormat, startMs: number): string {
  if (format === 'json') return JSON.stringify(record);
  const { at, depth, op, offset, length, flags, us, result } = record;
  const time = new Date(startMs + at / 1000).toISOString();
  const range = op === 'flush' ? '' : ` ${length} bytes at ${offset}`;
  const how = flags.map((flag) => ` ${flag}`).join('');
  return `${time} ${op}${range}${how}: ${result}, ${us} us, depth ${depth}`;
}

/** The line that stands for others that could not be kept. */
export function lostLine(lost: number, format: TraceFormat): string {
  return format === 'json' ? JSON.stringify({ lost }) : `${lost} requests are missing here`;
}
