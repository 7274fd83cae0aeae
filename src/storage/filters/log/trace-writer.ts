/**
 * Writes the lines of a trace: in the background, with bounded memory. Lines that there is no room
 * for, in memory or on the disk, are counted and left out: a trace never keeps requests waiting, and
 * never fails them.
 */
import { close, write } from 'node:fs';
import { promisify } from 'node:util';
import { type Logger, silentLogger } from '../../../sys/index.ts';

/** Lines are written when they are so many, or so old. */
const WRITE_BYTES = 65536;
const WRITE_AFTER_MS = 250;
/** More is not kept. */
const MAX_PENDING_BYTES = 4 * 2 ** 20;
const NEWLINE = 10;
const STDERR = 2;

const writeAsync = promisify(write);

/** See the module's comment. */
export class TraceWriter {
  logger: Logger = silentLogger;
  /** Lines that were left out. */
  lostLines = 0;
  readonly #fd: number;
  readonly #lostLine: (lost: number) => string;
  #pending: string[] = [];
  #pendingBytes = 0;
  #unreported = 0;
  #endsWithinLine = false;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastFailure = '';

  /**
   * @param fd - of an open file, the writer's from then on; standard error stays open.
   * @param lostLine - what stands for lines that were left out.
   * @param isWithinLine - the file ends within a line, which was cut off: the next one is not to be.
   */
  constructor(fd: number, lostLine: (lost: number) => string, isWithinLine = false) {
    this.#fd = fd;
    this.#lostLine = lostLine;
    this.#endsWithinLine = isWithinLine;
  }

  /** Have a line written. */
  add(line: string): void {
    if (this.#pendingBytes + line.length >= MAX_PENDING_BYTES) {
      this.#lose(1);
      return;
    }
    this.#reportLost();
    this.#push(line);
    if (this.#pendingBytes >= WRITE_BYTES) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), WRITE_AFTER_MS).unref();
  }

  #push(line: string): void {
    this.#pending.push(line);
    this.#pendingBytes += line.length + 1;
  }

  #lose(lines: number): void {
    this.lostLines += lines;
    this.#unreported += lines;
  }

  #reportLost(): void {
    if (this.#unreported === 0) return;
    this.#push(this.#lostLine(this.#unreported));
    this.#unreported = 0;
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined || this.#pending.length === 0) return;
    this.#writing = this.#writePending().finally(() => {
      this.#writing = undefined;
      if (this.#pendingBytes >= WRITE_BYTES) this.#write();
      else if (this.#pending.length > 0) {
        this.#timer ??= setTimeout(() => this.#write(), WRITE_AFTER_MS).unref();
      }
    });
  }

  async #writePending(): Promise<void> {
    const lines = this.#pending;
    this.#pending = [];
    const start = this.#endsWithinLine ? '\n' : '';
    const text = Buffer.from(`${start}${lines.join('\n')}\n`);
    let done = 0;
    try {
      while (done < text.length) {
        done += (await writeAsync(this.#fd, text, done, text.length - done, null)).bytesWritten;
      }
    } catch (error) {
      this.#fail(error);
      const written = text.subarray(0, done).filter((byte) => byte === NEWLINE).length;
      this.#lose(Math.max(1, lines.length - written));
    }
    if (done > 0) this.#endsWithinLine = text[done - 1] !== NEWLINE;
    this.#pendingBytes = this.#pending.reduce((sum, line) => sum + line.length + 1, 0);
  }

  #fail(error: unknown): void {
    const text = String(error);
    if (text === this.#lastFailure) return;
    this.#lastFailure = text;
    this.logger.warn(`log: requests are missing in the trace: ${text}`);
  }

  /** Write what there is, and close the file. */
  async close(): Promise<void> {
    this.#reportLost();
    while (this.#writing !== undefined || this.#pending.length > 0) {
      this.#write();
      await this.#writing;
    }
    clearTimeout(this.#timer);
    if (this.#fd !== STDERR) await promisify(close)(this.#fd);
  }
}
