/**
 * Which requests fail: by operation, place, number, time, chance, and while a file exists. What has
 * been counted is shared by all threads.
 */
import { existsSync } from 'node:fs';
import type { Clock } from '../../../sys/index.ts';
import { RandomNumbers, StreamNumbers } from '../random-numbers.ts';

/** How often a trigger file is looked for. */
const LOOK_MS = 10;

/** Words of the shared memory. */
const MATCHED = 0;
const FAILED = 1;
const WORDS = 2;

/** For another thread; see the kind's parameters. */
export interface ErrorSettings {
  /** A bit for each `DiskOperation`. */
  readonly operations: number;
  readonly errno: number;
  readonly rate: number;
  /** Bytes of the disk, from the first to before the second. Absent: all, and flushes. */
  readonly range: readonly [number, number] | undefined;
  readonly after: number;
  /** 0: no limit. */
  readonly count: number;
  /** On the common clock. */
  readonly startMs: number;
  readonly endMs: number;
  readonly file: string | undefined;
  readonly seed: number;
  readonly counts: SharedArrayBuffer;
  readonly streams: SharedArrayBuffer;
}

/** Memory for the counts of a new disk. */
export function newCounts(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
}

/** How many requests have failed so far, modulo 2^32. */
export function failedCount({ counts }: ErrorSettings): number {
  return Atomics.load(new Int32Array(counts), FAILED) >>> 0;
}

/** See the module's comment. One for each queue. */
export class ErrorRule {
  readonly #settings: ErrorSettings;
  readonly #random: RandomNumbers;
  readonly #clock: Clock;
  readonly #counts: Int32Array;
  readonly #from: number;
  readonly #to: number;
  readonly #hasTimes: boolean;
  #nextLookMs = Number.NEGATIVE_INFINITY;
  #hasFile = false;

  constructor(settings: ErrorSettings, clock: Clock) {
    const { seed, streams, counts, range, startMs, endMs, file } = settings;
    this.#settings = settings;
    this.#random = new RandomNumbers(seed, new StreamNumbers(streams).next());
    this.#clock = clock;
    this.#counts = new Int32Array(counts);
    [this.#from, this.#to] = range ?? [0, Number.POSITIVE_INFINITY];
    this.#hasTimes =
      startMs > Number.NEGATIVE_INFINITY || endMs < Number.POSITIVE_INFINITY || file !== undefined;
  }

  /** Whether a request is to fail; it counts as one that has. A flush has no bytes. */
  applies(operation: number, offset: number, length: number): boolean {
    const { operations, rate } = this.#settings;
    if (((operations >> operation) & 1) === 0) return false;
    if (!this.#isInRange(offset, length)) return false;
    if (this.#hasTimes && !this.#isTime()) return false;
    if (!this.#isLate()) return false;
    if (rate < 1 && !this.#random.isBelow(rate)) return false;
    return this.#count();
  }

  #isInRange(offset: number, length: number): boolean {
    if (this.#settings.range === undefined) return true;
    return offset < this.#to && offset + length > this.#from;
  }

  #isTime(): boolean {
    const { startMs, endMs, file } = this.#settings;
    this.#clock.read();
    const nowMs = this.#clock.ms[0];
    if (nowMs < startMs || nowMs >= endMs) return false;
    if (file === undefined) return true;
    if (nowMs >= this.#nextLookMs) {
      this.#hasFile = existsSync(file);
      this.#nextLookMs = nowMs + LOOK_MS;
    }
    return this.#hasFile;
  }

  /** Whether as many have gone well as have to. */
  #isLate(): boolean {
    const { after } = this.#settings;
    if (after === 0 || Atomics.load(this.#counts, MATCHED) >= after) return true;
    return Atomics.add(this.#counts, MATCHED, 1) >= after;
  }

  /** Count one that fails; false if there have been enough. */
  #count(): boolean {
    const { count } = this.#settings;
    for (;;) {
      const failed = Atomics.load(this.#counts, FAILED);
      if (count > 0 && failed >= count) return false;
      if (Atomics.compareExchange(this.#counts, FAILED, failed, (failed + 1) | 0) === failed) {
        return true;
      }
    }
  }
}
