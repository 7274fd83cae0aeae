/** A request to an NBD server, and what has come of its reply. */
import { CoveredRanges } from './covered-ranges.ts';
import { NbdCommand, type NbdRequestError, REQUEST_BYTES, REQUEST_MAGIC } from './nbd-protocol.ts';

/** See the module's comment. It may be sent again, on another connection. */
export class NbdRequest {
  /** `NbdCommand`. */
  readonly command: number;
  /** `CommandFlag`s. */
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** READ, WRITE: memory of `length` bytes in all. It is the connection's until it ends. */
  readonly buffers: readonly Uint8Array[];
  /** Called once. */
  readonly settle: (error: Error | undefined) => void;
  /** FLUSH: what it covers, as `UnflushedWrites` counts. */
  mark = 0;

  // Of the connection that it is on.
  cookie = 0;
  /** Its memory is not needed any more to send it. */
  isSent = true;
  /** The reply is there, all of it. */
  isReplied = false;
  /** The first error of a structured reply. */
  error: NbdRequestError | undefined;
  covered: CoveredRanges | undefined;

  constructor(
    command: number,
    flags: number,
    offset: number,
    length: number,
    buffers: readonly Uint8Array[],
    settle: (error: Error | undefined) => void,
  ) {
    this.command = command;
    this.flags = flags;
    this.offset = offset;
    this.length = length;
    this.buffers = buffers;
    this.settle = settle;
  }

  get isRead(): boolean {
    return this.command === NbdCommand.READ;
  }

  /** It changes what is on the disk. */
  get isChange(): boolean {
    const { command } = this;
    return (
      command === NbdCommand.WRITE ||
      command === NbdCommand.TRIM ||
      command === NbdCommand.WRITE_ZEROES
    );
  }

  /** It is about to be sent, perhaps again. */
  begin(cookie: number): void {
    this.cookie = cookie;
    this.isSent = true;
    this.isReplied = false;
    this.error = undefined;
    this.covered = this.isRead ? new CoveredRanges() : undefined;
  }

  /** The message, without data. */
  header(): Buffer {
    const header = Buffer.allocUnsafe(REQUEST_BYTES);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(this.flags, 4);
    header.writeUInt16BE(this.command, 6);
    header.writeUInt32BE(Math.floor(this.cookie / 2 ** 32), 8);
    header.writeUInt32BE(this.cookie >>> 0, 12);
    header.writeUInt32BE(Math.floor(this.offset / 2 ** 32), 16);
    header.writeUInt32BE(this.offset >>> 0, 20);
    header.writeUInt32BE(this.length, 24);
    return header;
  }

  /** What was read, from `at` of the request on. It lies within the request. */
  put(at: number, bytes: Uint8Array): void {
    let skip = at;
    let done = 0;
    for (const buffer of this.buffers) {
      if (skip >= buffer.length) {
        skip -= buffer.length;
        continue;
      }
      const count = Math.min(buffer.length - skip, bytes.length - done);
      const isAll = done === 0 && count === bytes.length;
      buffer.set(isAll ? bytes : bytes.subarray(done, done + count), skip);
      done += count;
      skip = 0;
      if (done === bytes.length) return;
    }
  }

  /** As `put`, of zeros. */
  putZeros(at: number, length: number): void {
    let skip = at;
    let left = length;
    for (const buffer of this.buffers) {
      const end = Math.min(buffer.length, skip + left);
      if (end > skip) {
        buffer.fill(0, skip, end);
        left -= end - skip;
      }
      skip = Math.max(0, skip - buffer.length);
      if (left === 0) return;
    }
  }
}
