/**
 * A disk in memory, as code uses one, that is looked at after a crash: it keeps all that was asked of
 * it and when it was done, and says what may be left of it at any moment. Several share one clock.
 *
 * After the power has gone, what was written is there if a flush has begun and ended since; of the
 * rest each sector may be there or not. When only the process has gone, all that was done is there.
 */
import type { DiskAccess, DiskInfo } from '../../src/storage/index.ts';
import { SystemError } from '../../src/sys/index.ts';
import type { Random } from './power-loss.ts';

const SECTOR_BYTES = 512;
const EIO = 5;

/** What has ended. */
export type Crash = 'power' | 'process';

/** Moments are counted: one for each start and end. */
export class CrashClock {
  now = 0;

  tick(): number {
    this.now += 1;
    return this.now;
  }
}

interface Change {
  readonly offset: number;
  readonly data: Buffer;
  readonly startedAt: number;
  endedAt: number;
}

interface Flush {
  readonly startedAt: number;
  endedAt: number;
}

export interface CrashingDiskOptions {
  readonly clock: CrashClock;
  readonly random: Random;
  readonly readOnly?: boolean;
}

/** See the module's comment. */
export class CrashingDisk implements DiskAccess {
  readonly info: DiskInfo;
  /** As requests see it. */
  readonly content: Buffer;
  /** Called with each request; what it throws, the request fails with. */
  fault: (operation: 'read' | 'write' | 'flush') => void = () => {};
  reads = 0;
  writes = 0;
  flushes = 0;
  /** Bytes of all reads and of all writes. */
  readBytes = 0;
  writtenBytes = 0;
  readonly #first: Buffer;
  readonly #changes: Change[] = [];
  readonly #flushes: Flush[] = [];
  readonly #options: CrashingDiskOptions;

  constructor(content: Uint8Array, options: CrashingDiskOptions) {
    this.content = Buffer.from(content);
    this.#first = Buffer.from(content);
    this.#options = options;
    const { readOnly = false } = options;
    this.info = {
      sizeBytes: content.length,
      readOnly,
      logicalBlockBytes: SECTOR_BYTES,
      physicalBlockBytes: SECTOR_BYTES,
      minIoBytes: 0,
      optimalIoBytes: 0,
      canDiscard: !readOnly,
      canWriteZeroes: !readOnly,
      writeBack: true,
    };
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  onResize(): void {}

  /** Requests take a while, some longer than others, and end in another order. */
  async #wait(): Promise<void> {
    const turns = Math.floor(this.#options.random() * 3);
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  async read(buffer: Uint8Array, offset: number): Promise<void> {
    this.#check(offset, buffer.length);
    this.reads += 1;
    this.readBytes += buffer.length;
    await this.#wait();
    this.fault('read');
    buffer.set(this.content.subarray(offset, offset + buffer.length));
  }

  async write(buffer: Uint8Array, offset: number): Promise<void> {
    this.writes += 1;
    this.writtenBytes += buffer.length;
    await this.#change(offset, Buffer.from(buffer));
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#change(offset, Buffer.alloc(length));
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#change(offset, Buffer.alloc(length));
  }

  async #change(offset: number, data: Buffer): Promise<void> {
    this.#check(offset, data.length);
    if (this.info.readOnly) throw new SystemError('write', 30);
    const { clock } = this.#options;
    const change: Change = {
      offset,
      data,
      startedAt: clock.tick(),
      endedAt: Number.POSITIVE_INFINITY,
    };
    this.#changes.push(change);
    await this.#wait();
    this.fault('write');
    data.copy(this.content, offset);
    change.endedAt = clock.tick();
  }

  async flush(): Promise<void> {
    const { clock } = this.#options;
    const flush: Flush = { startedAt: clock.tick(), endedAt: Number.POSITIVE_INFINITY };
    this.#flushes.push(flush);
    this.flushes += 1;
    await this.#wait();
    this.fault('flush');
    flush.endedAt = clock.tick();
  }

  async idle(): Promise<void> {}

  close(): void {}

  #check(offset: number, length: number): void {
    const isAligned = offset % SECTOR_BYTES === 0 && length % SECTOR_BYTES === 0;
    if (isAligned && offset >= 0 && offset + length <= this.content.length) return;
    throw new SystemError('request', 22, `${length} bytes at offset ${offset}`);
  }

  /** What may be left after a crash at a moment. */
  imageAt(moment: number, crash: Crash): Buffer {
    const image = Buffer.from(this.#first);
    const flushedAt = this.#flushes
      .filter(({ endedAt }) => endedAt <= moment)
      .reduce((latest, { startedAt }) => Math.max(latest, startedAt), 0);
    for (const change of this.#changes) {
      if (change.startedAt > moment) continue;
      const isThere = crash === 'process' ? change.endedAt <= moment : change.endedAt < flushedAt;
      this.#apply(image, change, isThere ? 1 : this.#share());
    }
    return image;
  }

  /** How much of what need not be there is there: often all or nothing. */
  #share(): number {
    const kind = this.#options.random();
    if (kind < 0.35) return 0;
    return kind < 0.7 ? 1 : this.#options.random();
  }

  #apply(image: Buffer, { offset, data }: Change, share: number): void {
    for (let at = 0; at < data.length; at += SECTOR_BYTES) {
      if (share === 1 || this.#options.random() < share) {
        data.copy(image, offset + at, at, at + SECTOR_BYTES);
      }
    }
  }
}

/** An error as of a disk that is broken. */
export function ioError(): SystemError {
  return new SystemError('request', EIO);
}
