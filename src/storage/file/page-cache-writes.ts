/**
 * Writes into the page cache.
 *
 * io_uring hands buffered writes to a kernel thread, one at a time for each file, which costs more
 * than the copy that a write into the cache is. So whole pages are written by the calling thread,
 * as long as that is quick. It is not when the kernel holds writers back because too much of the
 * cache is dirty, or when the file system waits for a network: then writes go through the engine
 * for a while, and the thread goes on serving.
 */
import type { FileIo, Writer } from '../../sys/index.ts';
import type { DiskRequests } from '../disk-requests.ts';

/** Pages of the cache; where they are larger than this, most writes are no whole pages anyway. */
const PAGE_MASK = 4095;
/** One write in this many is timed: slow spells last for many. */
const TIMED_WRITES = 8;
/** What a quick write takes at most, in milliseconds: to start with, and for each byte. */
const QUICK_MS = 0.5;
const QUICK_MS_PER_BYTE = 1e-6;
/** How long to leave writes to the engine. */
const PAUSE_MS = 100;

/** See the module's comment. */
export class PageCacheWrites implements Writer {
  readonly #requests: DiskRequests;
  readonly #thread: FileIo;
  readonly #engine: FileIo;
  #untilTimed = TIMED_WRITES;
  #slowUntilMs = 0;

  constructor(requests: DiskRequests, thread: FileIo, engine: FileIo) {
    this.#requests = requests;
    this.#thread = thread;
    this.#engine = engine;
  }

  writev(slot: number, offsetLow: number, offsetHigh: number, flags: number): number {
    const length = this.#requests.lengthBytes[slot];
    // Part of a page may have to be read first; a write that is to be stable waits for the device.
    const isWholePages = ((offsetLow | length) & PAGE_MASK) === 0;
    if (flags !== 0 || !isWholePages) {
      return this.#engine.writev(slot, offsetLow, offsetHigh, flags);
    }
    this.#untilTimed -= 1;
    if (this.#untilTimed > 0 && this.#slowUntilMs === 0) {
      return this.#thread.writev(slot, offsetLow, offsetHigh, flags);
    }
    return this.#timedWrite(slot, offsetLow, offsetHigh, length);
  }

  #timedWrite(slot: number, offsetLow: number, offsetHigh: number, length: number): number {
    const startedMs = performance.now();
    if (startedMs < this.#slowUntilMs) return this.#engine.writev(slot, offsetLow, offsetHigh, 0);
    this.#untilTimed = TIMED_WRITES;
    const result = this.#thread.writev(slot, offsetLow, offsetHigh, 0);
    const endedMs = performance.now();
    const isSlow = endedMs - startedMs > QUICK_MS + length * QUICK_MS_PER_BYTE;
    this.#slowUntilMs = isSlow ? endedMs + PAUSE_MS : 0;
    return result;
  }
}
