/** A disk that is as the one below, and has each request written down. */
import type { Logger } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import type { DiskObject, ObjectRequest, Settled } from '../../object/disk-object.ts';
import { promiseOf } from '../../object/object-call.ts';
import type { TraceFlag, TraceOperation, TraceRecord } from './trace-record.ts';

/** Where records go. */
export interface TraceSink {
  add(record: TraceRecord): void;
  useLogger(logger: Logger): void;
  close(): Promise<void>;
}

/** See the module's comment. */
export class LogObject implements DiskObject {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly minIoBytes: number;
  readonly optimalIoBytes: number;
  readonly honoursStable = true;
  readonly description: string;
  readonly write?: (buffer: Uint8Array, offset: number, request: ObjectRequest) => Settled;
  readonly flush?: (request: ObjectRequest) => Settled;
  readonly discard?: (offset: number, length: number, request: ObjectRequest) => Settled;
  readonly writeZeroes?: (offset: number, length: number, request: ObjectRequest) => Settled;
  readonly #below: DiskAccess;
  readonly #sink: TraceSink;
  readonly #startMs = performance.now();
  #requests = 0;
  #depth = 0;

  constructor(below: DiskAccess, sink: TraceSink, description: string) {
    const { info } = below;
    this.#below = below;
    this.#sink = sink;
    this.description = description;
    this.logicalBlockBytes = info.logicalBlockBytes;
    this.physicalBlockBytes = info.physicalBlockBytes;
    this.minIoBytes = info.minIoBytes;
    this.optimalIoBytes = info.optimalIoBytes;
    if (info.readOnly) return;
    // Requests go down as they are: with their flags, and the signal that nobody waits any more.
    this.write = (buffer, offset, request) =>
      this.#trace('write', offset, buffer.length, flagsOf(request), () =>
        below.write(buffer, offset, request),
      );
    if (info.writeBack) {
      this.flush = (request) => this.#trace('flush', 0, 0, [], () => below.flush(request));
    }
    if (info.canDiscard) {
      this.discard = (offset, length, request) =>
        this.#trace('discard', offset, length, [], () => below.discard(offset, length, request));
    }
    if (!info.canWriteZeroes) return;
    this.writeZeroes = (offset, length, request) =>
      this.#trace('zero', offset, length, flagsOf(request), () =>
        below.writeZeroes(offset, length, request),
      );
  }

  get sizeBytes(): number {
    return this.#below.currentSizeBytes();
  }

  /** Its size is that of the disk below. */
  on(_event: 'resize', listener: () => void): void {
    this.#below.onResize(listener);
  }

  useLogger(logger: Logger): void {
    this.#sink.useLogger(logger);
  }

  read(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled {
    return this.#trace('read', offset, buffer.length, [], () =>
      this.#below.read(buffer, offset, request),
    );
  }

  #trace(
    op: TraceOperation,
    offset: number,
    length: number,
    flags: readonly TraceFlag[],
    action: () => Settled,
  ): Settled {
    const startMs = performance.now();
    const n = this.#requests++;
    this.#depth += 1;
    const depth = this.#depth;
    const end = (result: string): void => {
      this.#depth -= 1;
      const at = Math.round((startMs - this.#startMs) * 1000);
      const us = Math.round((performance.now() - startMs) * 1000);
      this.#sink.add({ n, at, depth, op, offset, length, flags, us, result });
    };
    const fail = (error: unknown): never => {
      end(resultOf(error));
      throw error;
    };
    let promise: Promise<void> | undefined;
    try {
      promise = promiseOf(action());
    } catch (error) {
      return fail(error);
    }
    if (promise !== undefined) return promise.then(() => end('ok'), fail);
    end('ok');
    return undefined;
  }

  close(): Promise<void> {
    return this.#sink.close();
  }
}

function flagsOf({ stable, mayUnmap, mustBeFast }: ObjectRequest): TraceFlag[] {
  const flags: TraceFlag[] = [];
  if (stable) flags.push('stable');
  if (mayUnmap) flags.push('unmap');
  if (mustBeFast) flags.push('fast');
  return flags;
}

/** The name of the error that a request has failed with. */
export function resultOf(error: unknown): string {
  const code: unknown = (error as { code?: unknown } | undefined | null)?.code;
  return typeof code === 'string' ? code : 'EIO';
}
