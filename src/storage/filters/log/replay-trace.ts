/**
 * A trace's requests, asked of a disk again: with the gaps that were between them, or one as soon as
 * another has ended. What is written is made up: a trace has no data.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { useAndClose } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import { openAccess } from '../../access/open-access.ts';
import { StorageError } from '../../errors.ts';
import { ObjectDisk } from '../../object/object-disk.ts';
import type { DiskLike, OpenOptions } from '../../plan/disk-kind.ts';
import { openDisk } from '../../plan/open-disk.ts';
import { forEachAtOnce } from '../../settle-all.ts';
import { LogObject, resultOf, type TraceSink } from './log-object.ts';
import { readTrace, type Trace } from './read-trace.ts';
import type { TraceRecord } from './trace-record.ts';

export interface ReplayOptions extends Omit<OpenOptions, 'readOnly'> {
  /** `recorded`: requests come when they came; `fast`: as soon as there is room. Default. */
  readonly pace?: 'recorded' | 'fast';
  /** `fast`: requests under way, at least 1; default: as many as the trace had at most. */
  readonly depth?: number;
  /** The disk may be written, which destroys what it holds. Default: false. */
  readonly mayWrite?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What came of it. */
export interface ReplayReport {
  readonly requests: number;
  /** Requests that the trace has lost, and that were not done. */
  readonly missing: number;
  /** Requests that have ended otherwise than in the trace. */
  readonly otherResults: readonly { readonly record: TraceRecord; readonly result: string }[];
  /** From the first to the last, now and in the trace. */
  readonly seconds: number;
  readonly recordedSeconds: number;
  /** Durations of requests, now and in the trace. Microseconds. */
  readonly latency: Percentiles;
  readonly recordedLatency: Percentiles;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Reports have no more of them. */
const MAX_OTHER_RESULTS = 1000;
/** What is written: nothing that compresses to nothing. */
const PATTERN = Buffer.alloc(2 ** 16).map((_, index) => (index * 167 + (index >> 8)) & 0xff);

/**
 * Do the requests of a trace (`log(..., format=json)`) on a disk that is at least as large; it stays
 * open if it was open before. Rejects with a `StorageError`.
 */
export async function replayTrace(
  path: string,
  disk: DiskLike,
  options: ReplayOptions = {},
): Promise<ReplayReport> {
  const { pace, depth, mayWrite = false, onProgress, ...open } = options;
  if (depth !== undefined && !(Number.isSafeInteger(depth) && depth >= 1)) {
    const problem = `depth is ${depth}: expected a whole number from 1`;
    throw new StorageError('DISK_OPTION', `trace ${path}: ${problem}`);
  }
  const trace = readTrace(path);
  const changes = trace.records.some(({ op }) => op !== 'read' && op !== 'flush');
  if (changes && !mayWrite) {
    const problem =
      'it writes, which would destroy what the disk holds: allow it, or use an overlay';
    throw new StorageError('DISK_OPTION', `trace ${path}: ${problem}`);
  }
  const below = await openDisk(disk, { ...open, readOnly: !changes });
  const durations: number[] = [];
  const sink: TraceSink = {
    add: ({ n: _, us }) => void durations.push(us),
    useLogger: () => {},
    close: async () => {},
  };
  // One that was open before stays open.
  const own = below === disk ? [] : [below];
  return useAndClose(own, async () => {
    checkSize(path, trace, below.info.sizeBytes);
    const lower = openAccess(below);
    // An object's requests come in an order that keeps overlapping ones apart, as they did.
    const object = new LogObject(lower, sink, 'replay');
    const ordered = new ObjectDisk(object, { kind: 'replay', accesses: [lower] });
    const access = openAccess(ordered);
    return useAndClose([access, ordered], async () => {
      const replay = new Replay(access, trace, onProgress ?? (() => {}));
      await replay.run(pace ?? 'fast', depth);
      return replay.report(durations);
    });
  });
}

function checkSize(path: string, trace: Trace, sizeBytes: number): void {
  const needed = trace.records.reduce(
    (most, { offset, length }) => Math.max(most, offset + length),
    0,
  );
  if (needed <= sizeBytes) return;
  const problem = `it needs a disk of ${needed} bytes, this one has ${sizeBytes}`;
  throw new StorageError('DISK_OPTION', `trace ${path}: ${problem}`);
}

/** One replay. */
class Replay {
  readonly #access: DiskAccess;
  readonly #trace: Trace;
  readonly #onProgress: (done: number, total: number) => void;
  readonly #otherResults: { record: TraceRecord; result: string }[] = [];
  #done = 0;
  #seconds = 0;

  constructor(access: DiskAccess, trace: Trace, onProgress: (done: number, total: number) => void) {
    this.#access = access;
    this.#trace = trace;
    this.#onProgress = onProgress;
  }

  async run(pace: 'recorded' | 'fast', depth: number | undefined): Promise<void> {
    const { records } = this.#trace;
    const startMs = performance.now();
    if (pace === 'recorded') await this.#inTime(startMs);
    else {
      const most = depth ?? records.reduce((max, record) => Math.max(max, record.depth), 1);
      await forEachAtOnce(records, most, (record) => this.#request(record));
    }
    this.#seconds = (performance.now() - startMs) / 1000;
  }

  async #inTime(startMs: number): Promise<void> {
    const underWay = new Set<Promise<void>>();
    for (const record of this.#trace.records) {
      const waitMs = startMs + record.at / 1000 - performance.now();
      if (waitMs >= 1) await sleep(waitMs);
      const request = this.#request(record).finally(() => underWay.delete(request));
      underWay.add(request);
    }
    await Promise.all(underWay);
  }

  async #request(record: TraceRecord): Promise<void> {
    let result = 'ok';
    try {
      await this.#submit(record);
    } catch (error) {
      result = resultOf(error);
    }
    if (result !== record.result && this.#otherResults.length < MAX_OTHER_RESULTS) {
      this.#otherResults.push({ record, result });
    }
    this.#done += 1;
    this.#onProgress(this.#done, this.#trace.records.length);
  }

  #submit({ op, offset, length, flags, n }: TraceRecord): void | Promise<void> {
    const stable = flags.includes('stable');
    switch (op) {
      case 'read':
        return this.#access.read(new Uint8Array(length), offset);
      case 'write':
        return this.#access.write(dataOf(n, length), offset, { stable });
      case 'flush':
        return this.#access.flush();
      case 'discard':
        return this.#access.discard(offset, length);
      case 'zero': {
        const [mayUnmap, mustBeFast] = [flags.includes('unmap'), flags.includes('fast')];
        return this.#access.writeZeroes(offset, length, { stable, mayUnmap, mustBeFast });
      }
    }
  }

  report(durations: readonly number[]): ReplayReport {
    const { records, lost } = this.#trace;
    const first = records[0]?.at ?? 0;
    const last = records.reduce((latest, { at, us }) => Math.max(latest, at + us), 0);
    return {
      requests: records.length,
      missing: lost,
      otherResults: this.#otherResults,
      seconds: this.#seconds,
      recordedSeconds: (last - first) / 1e6,
      latency: percentiles(durations),
      recordedLatency: percentiles(records.map(({ us }) => us)),
    };
  }
}

/** Other data for each request. */
function dataOf(n: number, length: number): Uint8Array {
  const data = new Uint8Array(length);
  for (let at = 0; at < length; at += PATTERN.length) {
    data.set(PATTERN.subarray(0, Math.min(PATTERN.length, length - at)), at);
  }
  if (length >= 4) Buffer.from(data.buffer).writeUInt32LE(n % 2 ** 32, 0);
  return data;
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((first, second) => first - second);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
