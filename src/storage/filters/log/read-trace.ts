/** Reads a trace that the filter `log` has written as JSON. */
import { readFileSync } from 'node:fs';
import { StorageError } from '../../errors.ts';
import { TRACE_FLAGS, TRACE_OPERATIONS, type TraceFlag, type TraceRecord } from './trace-record.ts';

/** See the module's comment. */
export interface Trace {
  /** In the order of arrival; times of all sections begin with the first. */
  readonly records: readonly TraceRecord[];
  /** Size of the disk that it is of. Bytes. */
  readonly sizeBytes: number;
  /** Requests that are known to be missing. */
  readonly lost: number;
}

/**
 * Read a trace. One that several runs were appended to is taken as one after the other; a line that
 * was cut off at the end of a run is a request that is missing. Throws a
 * `StorageError` DISK_FORMAT that names the line that is wrong.
 */
export function readTrace(path: string): Trace {
  const records: TraceRecord[] = [];
  let section: TraceRecord[] = [];
  let sizeBytes = 0;
  let lost = 0;
  const endSection = (): void => {
    const startsAt = records.reduce((latest, { at, us }) => Math.max(latest, at + us), 0);
    section.sort((first, second) => first.n - second.n);
    for (const record of section) records.push({ ...record, at: record.at + startsAt });
    section = [];
  };
  const lines = linesOf(path);
  lines.forEach((line, index) => {
    if (line === '') return;
    const where = `${path}, line ${index + 1}`;
    const value = parse(line);
    if (value === undefined) {
      if (!isCutOff(lines, index))
        throw wrong(where, 'it is no line of a trace in JSON (format=json)');
      lost += 1;
    } else if (value.trace === 'vhostkit') {
      endSection();
      sizeBytes = Math.max(sizeBytes, count(value.sizeBytes, 'sizeBytes', where));
    } else if (value.lost !== undefined) lost += count(value.lost, 'lost', where);
    else section.push(recordOf(value, where));
  });
  endSection();
  if (sizeBytes === 0)
    throw wrong(path, 'it has no header: expected a trace in JSON (format=json)');
  return { records, sizeBytes, lost };
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    const message = `cannot read the trace ${path}: ${(error as Error).message}`;
    throw new StorageError('DISK_OPEN_FAILED', message, { cause: error });
  }
}

function wrong(where: string, problem: string): StorageError {
  return new StorageError('DISK_FORMAT', `trace ${where}: ${problem}`);
}

/** `undefined`: it is no line of a trace. */
function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said by the caller.
  }
  return undefined;
}

/** Whether a line is the last of its section, and so may have lost its end when the writer was killed. */
function isCutOff(lines: readonly string[], index: number): boolean {
  if (index === lines.length - 1) return true;
  const next = lines.slice(index + 1).find((line) => line !== '');
  return next !== undefined && parse(next)?.trace === 'vhostkit';
}

function count(value: unknown, name: string, where: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw wrong(where, `${name} is ${JSON.stringify(value)}: expected a whole number`);
}

function recordOf(value: Record<string, unknown>, where: string): TraceRecord {
  const { op, flags, result } = value;
  if (typeof op !== 'string' || !Object.hasOwn(TRACE_OPERATIONS, op)) {
    const known = Object.keys(TRACE_OPERATIONS).join(', ');
    throw wrong(where, `op is ${JSON.stringify(op)}: expected one of ${known}`);
  }
  const isFlags =
    Array.isArray(flags) && flags.every((flag) => TRACE_FLAGS.includes(flag as TraceFlag));
  if (!isFlags || typeof result !== 'string') {
    throw wrong(where, 'flags or result are not as a trace has them');
  }
  return {
    n: count(value.n, 'n', where),
    at: count(value.at, 'at', where),
    depth: count(value.depth, 'depth', where),
    op: op as TraceRecord['op'],
    offset: count(value.offset, 'offset', where),
    length: count(value.length, 'length', where),
    flags: flags as TraceFlag[],
    us: count(value.us, 'us', where),
    result,
  };
}
