/**
 * A disk with blocks of it in memory. Requests that find what they need there are done on the spot.
 *
 * The order of requests keeps those apart that touch the same bytes. What else goes on at a block is
 * kept apart by the state of its units: what was written, or dropped, while a block was being read is
 * not overwritten by what comes.
 */
import { type Logger, silentLogger } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import type { DiskObject, ObjectRequest, Settled } from '../../object/disk-object.ts';
import { forEachAtOnce } from '../../settle-all.ts';
import { type BlockPart, blockParts } from '../blocks/block-parts.ts';
import { BlockFetch } from './block-fetch.ts';
import { type CacheStatistics, statisticsLine } from './cache-statistics.ts';
import { CachedBlocks } from './cached-blocks.ts';
import { ReadAhead } from './read-ahead.ts';
import { WriteBack } from './write-back.ts';

export type CacheWriteMode = 'write-back' | 'write-through';

export interface CacheOptions {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly mode: CacheWriteMode;
  readonly readAheadBytes: number;
  /** How long something may stay dirty. */
  readonly intervalMs: number;
}

/** Share of the blocks that may be dirty; when it is reached, writes wait. */
const MAX_DIRTY = 3 / 4;
/** Share from which on they are written though nobody asks for it. */
const EARLY_DIRTY = 1 / 2;
const CLEANED_AT_ONCE = 8;

/** See the module's comment. */
export class CacheObject implements DiskObject {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly description: string;
  readonly honoursStable: boolean;
  readonly #below: DiskAccess;
  readonly #blocks: CachedBlocks;
  readonly #fetch: BlockFetch;
  readonly #writeBack: WriteBack;
  readonly #readAhead: ReadAhead;
  readonly #isWriteBack: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  /** Those that wait for a slot. */
  #waiting: (() => void)[] = [];
  /** Writes that nobody waits for. */
  #early: Promise<void> | undefined;
  #logger: Logger = silentLogger;
  #readBytes = 0;
  #hitBytes = 0;
  #lastFailure = '';

  constructor(below: DiskAccess, options: CacheOptions, description: string) {
    const { info } = below;
    const { sizeBytes, blockBytes, mode, readAheadBytes, intervalMs } = options;
    this.#below = below;
    this.sizeBytes = info.sizeBytes;
    this.logicalBlockBytes = info.logicalBlockBytes;
    this.physicalBlockBytes = info.physicalBlockBytes;
    this.description = description;
    const slots = Math.floor(sizeBytes / blockBytes);
    this.#blocks = new CachedBlocks({ slots, blockBytes, unitBytes: info.logicalBlockBytes });
    const wake = (): void => this.#wake();
    this.#fetch = new BlockFetch(below, this.#blocks, wake);
    this.#writeBack = new WriteBack(below, this.#blocks, wake);
    this.#readAhead = new ReadAhead(Math.min(readAheadBytes, sizeBytes / 4));
    this.#isWriteBack = mode === 'write-back';
    this.honoursStable = !this.#isWriteBack;
    if (this.#isWriteBack && intervalMs > 0) {
      this.#timer = setInterval(() => this.#writeEarly(), intervalMs);
      this.#timer.unref();
    }
  }

  useLogger(logger: Logger): void {
    this.#logger = logger;
  }

  get statistics(): CacheStatistics {
    return {
      readBytes: this.#readBytes,
      hitBytes: this.#hitBytes,
      fetchedBytes: this.#fetch.readBytes,
      writtenBackBytes: this.#writeBack.writtenBytes,
      cachedBytes: this.#blocks.usedSlots * this.#blocks.blockBytes,
      dirtyBlocks: this.#blocks.dirtySlots,
    };
  }

  /**
   * The signal of a request is not passed on: others wait for the same blocks. Nor is that of a write to
   * memory. What goes straight to the disk below is given up with its request.
   */
  read(buffer: Uint8Array, offset: number): Settled {
    this.#readBytes += buffer.length;
    const ahead = this.#readAhead.next(offset, buffer.length);
    const parts = blockParts(offset, buffer.length, this.#blocks.blockBytes);
    const missing = parts.findIndex((part) => !this.#copyOut(buffer, part, true));
    const read = missing === -1 ? undefined : this.#readMissing(buffer, parts.slice(missing));
    if (ahead !== undefined) this.#fetchAhead(ahead.offset, ahead.length);
    return read;
  }

  /** Whether what a part reads is in memory; then it has been read. */
  #copyOut(buffer: Uint8Array, { block, start, at, length }: BlockPart, isHit: boolean): boolean {
    const slot = this.#blocks.find(block);
    if (slot === -1 || !this.#blocks.isValid(slot, start, length)) return false;
    buffer.set(this.#blocks.bytes(slot, start, length), at);
    this.#blocks.touch(slot);
    if (isHit) this.#hitBytes += length;
    return true;
  }

  async #readMissing(buffer: Uint8Array, parts: readonly BlockPart[]): Promise<void> {
    const end = (parts.at(-1)?.block ?? 0) + 1;
    /** Of those before this one it is known that they were missing. */
    let fetchedTo = 0;
    for (let index = 0; index < parts.length; ) {
      const part = parts[index];
      if (this.#copyOut(buffer, part, part.block >= fetchedTo)) {
        index += 1;
        continue;
      }
      fetchedTo = Math.max(fetchedTo, part.block + 1);
      const underWay = this.#fetch.underWay(part.block);
      // If that fails, it is tried again here, and then it is this request's failure.
      if (underWay !== undefined) await underWay.catch(() => {});
      else index += await this.#fetchRun(buffer, parts, index, end);
    }
  }

  /** Fetch the blocks of parts. @returns how many of these have been copied. */
  async #fetchRun(
    buffer: Uint8Array,
    parts: readonly BlockPart[],
    index: number,
    end: number,
  ): Promise<number> {
    const { block } = parts[index];
    if (this.#slotNow(block) === -1) {
      await this.#makeRoom();
      return 0;
    }
    let next = index;
    await this.#fetch.fetch(block, end, () => {
      while (next < parts.length && this.#copyOut(buffer, parts[next], false)) next += 1;
    });
    return next - index;
  }

  /** The slot of a block; -1: there is no room for it. */
  #slotNow(block: number): number {
    const slot = this.#blocks.find(block);
    return slot === -1 ? this.#blocks.take(block) : slot;
  }

  /** Wait until there may be room, or less that is dirty. */
  async #makeRoom(): Promise<void> {
    const dirty = this.#blocks.oldestDirty();
    if (dirty !== -1) await this.#writeBack.write(dirty);
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #fetchAhead(offset: number, length: number): void {
    const { blockBytes } = this.#blocks;
    const end = Math.ceil(Math.min(offset + length, this.sizeBytes) / blockBytes);
    for (let block = Math.floor(offset / blockBytes); block < end; ) {
      if (this.#blocks.find(block) === -1) {
        if (this.#blocks.take(block) === -1) return;
        // Nobody waits for it: whoever needs it will see for himself.
        this.#fetch.fetch(block, end).catch(() => {});
      }
      while (block < end && this.#blocks.find(block) !== -1) block += 1;
    }
  }

  write(buffer: Uint8Array, offset: number, request: ObjectRequest): Settled {
    if (!this.#isWriteBack) return this.#writeThrough(buffer, offset, request);
    const parts = blockParts(offset, buffer.length, this.#blocks.blockBytes);
    const waiting = parts.findIndex((part) => !this.#writeNow(buffer, part));
    if (this.#blocks.dirtySlots > this.#blocks.slots * EARLY_DIRTY) this.#writeEarly();
    return waiting === -1 ? undefined : this.#writeLater(buffer, parts.slice(waiting));
  }

  #writeNow(buffer: Uint8Array, part: BlockPart): boolean {
    const found = this.#blocks.find(part.block);
    const isMore = found === -1 || !this.#blocks.isDirty(found);
    if (isMore && this.#unsafeBlocks >= this.#blocks.slots * MAX_DIRTY) return false;
    const slot = this.#slotNow(part.block);
    if (slot === -1) return false;
    this.#copyIn(slot, buffer, part, true);
    return true;
  }

  /** Blocks that are dirty, or will be again if they cannot be written. */
  get #unsafeBlocks(): number {
    return this.#blocks.dirtySlots + this.#writeBack.blocksUnderWay;
  }

  #copyIn(
    slot: number,
    buffer: Uint8Array,
    { start, at, length }: BlockPart,
    isDirty: boolean,
  ): void {
    this.#blocks.bytes(slot, start, length).set(buffer.subarray(at, at + length));
    this.#blocks.setValid(slot, start, length, isDirty);
  }

  async #writeLater(buffer: Uint8Array, parts: readonly BlockPart[]): Promise<void> {
    for (const part of parts) {
      while (!this.#writeNow(buffer, part)) await this.#makeRoom();
    }
  }

  async #writeThrough(buffer: Uint8Array, offset: number, request: ObjectRequest): Promise<void> {
    try {
      await this.#below.write(buffer, offset, request);
    } catch (error) {
      this.#drop(offset, buffer.length);
      throw error;
    }
    for (const part of blockParts(offset, buffer.length, this.#blocks.blockBytes)) {
      const slot = this.#slotNow(part.block);
      if (slot !== -1) this.#copyIn(slot, buffer, part, false);
    }
  }

  /** Forget a range, nothing of which is dirty. */
  #drop(offset: number, length: number): void {
    for (const { block, start, length: part } of this.#cachedParts(offset, length)) {
      this.#blocks.drop(this.#blocks.find(block), start, part);
    }
  }

  #cachedParts(offset: number, length: number): BlockPart[] {
    const parts = blockParts(offset, length, this.#blocks.blockBytes);
    return parts.filter(({ block }) => this.#blocks.find(block) !== -1);
  }

  discard(offset: number, length: number, request: ObjectRequest): Promise<void> {
    return this.#pass(offset, length, () => this.#below.discard(offset, length, request));
  }

  writeZeroes(offset: number, length: number, request: ObjectRequest): Promise<void> {
    return this.#pass(offset, length, () => this.#below.writeZeroes(offset, length, request));
  }

  /** Have the disk below do something with a range, which then is not in memory any more. */
  async #pass(offset: number, length: number, action: () => Settled): Promise<void> {
    // If it fails, what was written before must still be there.
    const parts = this.#cachedParts(offset, length);
    await forEachAtOnce(parts, CLEANED_AT_ONCE, ({ block }) => this.#writeBack.clean(block));
    this.#drop(offset, length);
    try {
      await action();
    } finally {
      // What was read meanwhile may be as it was before.
      this.#drop(offset, length);
    }
  }

  async flush(request?: ObjectRequest): Promise<void> {
    await this.#writeBack.writeAll();
    await this.#below.flush(request);
  }

  /** Write what is dirty, though nobody waits for it. */
  #writeEarly(): void {
    if (this.#early !== undefined || this.#blocks.dirtySlots === 0) return;
    this.#early = this.#writeBack
      .writeAll()
      .catch((error: unknown) => this.#logFailure(error))
      .finally(() => {
        this.#early = undefined;
      });
  }

  /** The next flush will try again, and fail with it; until then somebody should know. */
  #logFailure(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    if (text === this.#lastFailure) return;
    this.#lastFailure = text;
    this.#logger.error(`cache: writing back failed, what was to be written is kept: ${text}`);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    try {
      await this.#fetch.settled();
      await this.#early;
      if (this.#isWriteBack) await this.flush();
    } catch (error) {
      const bytes = this.#blocks.dirtySlots * this.#blocks.blockBytes;
      throw new Error(`up to ${bytes} bytes could not be written and are lost: ${String(error)}`);
    } finally {
      this.#logger.info(`cache: ${statisticsLine(this.statistics)}`);
    }
  }
}
