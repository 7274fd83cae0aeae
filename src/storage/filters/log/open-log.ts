/** Opens disks whose requests are written down. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { abandonAll, type Logger } from '../../../sys/index.ts';
import type { Disk, DiskInfo } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import { openObjectOver } from '../../object/object-over.ts';
import type { OpenContext } from '../../plan/disk-kind.ts';
import type { LogParameters } from './log.ts';
import { LogObject, type TraceSink } from './log-object.ts';
import {
  headerLine,
  lostLine,
  recordLine,
  type TraceFormat,
  type TraceRecord,
} from './trace-record.ts';
import { TraceWriter } from './trace-writer.ts';

const KIND = 'log';
const STDERR = 2;
const NEWLINE = 10;
/** Offsets tell about a disk's contents. */
const MODE = 0o600;

/** See the kind. */
export async function openLog(context: OpenContext<LogParameters>): Promise<Disk> {
  const { parameters, options, openBelow } = context;
  const { file, format = 'text' } = parameters;
  const below = await openBelow(0);
  const sink = new LineSink(file, format, below.info);
  const description = `a trace of requests (${format}) goes to ${file ?? 'standard error'}`;
  try {
    return await openObjectOver([below], ([access]) => new LogObject(access, sink, description), {
      kind: KIND,
      readOnly: options.readOnly ?? false,
    });
  } catch (error) {
    await abandonAll([sink]);
    throw error;
  }
}

/** Makes lines of records. */
class LineSink implements TraceSink {
  readonly #writer: TraceWriter;
  readonly #format: TraceFormat;
  readonly #startMs = Date.now();

  constructor(path: string | undefined, format: TraceFormat, { sizeBytes }: DiskInfo) {
    this.#format = format;
    const fd = open(path);
    const isWithinLine = path !== undefined && endsWithinLine(path, fd);
    this.#writer = new TraceWriter(fd, (lost) => lostLine(lost, format), isWithinLine);
    const time = new Date(this.#startMs).toISOString();
    this.#writer.add(headerLine({ trace: 'vhostkit', version: 1, time, sizeBytes }, format));
  }

  add(record: TraceRecord): void {
    this.#writer.add(recordLine(record, this.#format, this.#startMs));
  }

  useLogger(logger: Logger): void {
    this.#writer.logger = logger;
  }

  close(): Promise<void> {
    return this.#writer.close();
  }
}

function open(path: string | undefined): number {
  if (path === undefined) return STDERR;
  try {
    return openSync(path, 'a', MODE);
  } catch (error) {
    const message = `${KIND}: cannot open ${path}: ${(error as Error).message}`;
    throw new StorageError('DISK_OPEN_FAILED', message, { cause: error });
  }
}

/** Whether the last run's last line was cut off: the process was killed, or the machine. */
function endsWithinLine(path: string, fd: number): boolean {
  const stats = fstatSync(fd);
  if (!stats.isFile() || stats.size === 0) return false;
  try {
    const readable = openSync(path, 'r');
    const last = new Uint8Array(1);
    try {
      readSync(readable, last, 0, 1, stats.size - 1);
    } finally {
      closeSync(readable);
    }
    return last[0] !== NEWLINE;
  } catch {
    // It may be written, not read. An empty line does no harm.
    return true;
  }
}
