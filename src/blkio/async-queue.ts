/**
 * A queue whose requests are promises, on Node's event loop. What is asked for in one go of the
 * event loop is handed over together.
 */
import { DiskOperation } from '../storage/index.ts';
import { errnoMessage, errnoName } from '../sys/index.ts';
import { BlkioError, blkioCode } from './errors.ts';
import { NO_BUFFERS, type QueueCore } from './queue-core.ts';
import { RequestFlag } from './request-flag.ts';

/** How a request is to be done. */
export interface RequestOptions {
  /** Gives up: see `AsyncQueue`. */
  readonly signal?: AbortSignal | undefined;
}

/** Writes and zeroes. */
export interface WriteOptions extends RequestOptions {
  /** On stable storage before the promise resolves. */
  readonly fua?: boolean | undefined;
}

export interface WriteZeroesOptions extends WriteOptions {
  /** Keep the space allocated. */
  readonly noUnmap?: boolean | undefined;
  /** Fail with ENOTSUP rather than write zeros from memory. */
  readonly noFallback?: boolean | undefined;
}

/** Who waits for a request. */
interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly name: string;
  readonly signal: AbortSignal | undefined;
}

/** Parts of a queue. */
export interface AsyncQueueParts {
  readonly openCore: (onComplete: (slot: number) => void) => QueueCore;
  /** Do what there is to do on the reactor, at once. */
  readonly pump: () => void;
  /** Everything else is closed. */
  readonly onClose: () => void;
}

/**
 * See the module's comment. Buffers must not be touched until the promise is settled: a request
 * whose signal is aborted is refused at once if it was not made yet, else when the device is done
 * with its buffer, with the signal's reason.
 */
export class AsyncQueue {
  readonly #core: QueueCore;
  readonly #pump: () => void;
  readonly #onClose: () => void;
  #isFlushPlanned = false;

  constructor(parts: AsyncQueueParts) {
    this.#core = parts.openCore((slot) => this.#settle(slot));
    this.#pump = parts.pump;
    this.#onClose = parts.onClose;
  }

  /** Requests that are not settled. */
  get outstanding(): number {
    return this.#core.outstanding;
  }

  /** Requests so far whose data was copied because it lay outside of mapped regions. */
  get bounced(): number {
    return this.#core.bounced;
  }

  /** Fill a buffer. Rejects with a `BlkioError`. */
  read(offsetBytes: number, buffer: Uint8Array, options?: RequestOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (isAborted(signal, reject)) return;
      const waiter: Waiter = { resolve, reject, name: 'read', signal };
      this.#core.transfer(DiskOperation.READ, offsetBytes, buffer, waiter, 0);
      this.#planFlush();
    });
  }

  /** Write all of a buffer. Rejects with a `BlkioError`. */
  write(offsetBytes: number, buffer: Uint8Array, options?: WriteOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (isAborted(signal, reject)) return;
      const waiter: Waiter = { resolve, reject, name: 'write', signal };
      this.#core.transfer(DiskOperation.WRITE, offsetBytes, buffer, waiter, flagsOf(options));
      this.#planFlush();
    });
  }

  /** Fill buffers, one after the other. */
  readv(
    offsetBytes: number,
    buffers: readonly Uint8Array[],
    options?: RequestOptions,
  ): Promise<void> {
    return this.#submit('read', DiskOperation.READ, offsetBytes, buffers, 0, options);
  }

  /** Write buffers, one after the other. */
  writev(
    offsetBytes: number,
    buffers: readonly Uint8Array[],
    options?: WriteOptions,
  ): Promise<void> {
    const flags = flagsOf(options);
    return this.#submit('write', DiskOperation.WRITE, offsetBytes, buffers, flags, options);
  }

  /** Make a range read as zeros. */
  writeZeroes(
    offsetBytes: number,
    lengthBytes: number,
    options?: WriteZeroesOptions,
  ): Promise<void> {
    const flags =
      flagsOf(options) |
      (options?.noUnmap ? RequestFlag.NO_UNMAP : 0) |
      (options?.noFallback ? RequestFlag.NO_FALLBACK : 0);
    const operation = DiskOperation.WRITE_ZEROES;
    return this.#submit('write zeroes', operation, offsetBytes, lengthBytes, flags, options);
  }

  /** The data of a range is not needed any more. */
  discard(offsetBytes: number, lengthBytes: number, options?: RequestOptions): Promise<void> {
    return this.#submit('discard', DiskOperation.DISCARD, offsetBytes, lengthBytes, 0, options);
  }

  /** Make stable what has been written by requests that are done. */
  flush(options?: RequestOptions): Promise<void> {
    return this.#submit('flush', DiskOperation.FLUSH, 0, 0, 0, options);
  }

  #submit(
    name: string,
    operation: number,
    offset: number,
    what: readonly Uint8Array[] | number,
    flags: number,
    options: RequestOptions | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (isAborted(signal, reject)) return;
      const token: Waiter = { resolve, reject, name, signal };
      const buffers = typeof what === 'number' ? NO_BUFFERS : what;
      const lengthBytes =
        typeof what === 'number' ? what : what.reduce((sum, { length }) => sum + length, 0);
      this.#core.submit({ operation, offset, lengthBytes, buffers, flags, token });
      this.#planFlush();
    });
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(() => {
      this.#isFlushPlanned = false;
      this.#core.flush();
      this.#pump();
    });
  }

  #settle(slot: number): void {
    const core = this.#core;
    const { resolve, reject, name, signal } = core.tokens[slot] as Waiter;
    const result = core.results[slot];
    const message = core.messages[slot];
    core.release(slot);
    if (core.isWaiting) this.#planFlush();
    if (signal?.aborted) reject(signal.reason);
    else if (result === 0) resolve();
    else reject(requestError(name, result, message));
  }

  /** Nothing may be outstanding. */
  close(): void {
    this.#core.close();
    this.#onClose();
  }
}

function isAborted(signal: AbortSignal | undefined, reject: (reason: unknown) => void): boolean {
  if (!signal?.aborted) return false;
  reject(signal.reason);
  return true;
}

function flagsOf(options: WriteOptions | undefined): number {
  return options?.fua ? RequestFlag.FUA : 0;
}

/** The error of a request that was completed with a negative errno. */
export function requestError(name: string, result: number, message?: string): BlkioError {
  return new BlkioError(
    blkioCode(errnoName(-result)),
    `${name}: ${message ?? errnoMessage(-result)}`,
  );
}
