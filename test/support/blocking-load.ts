/**
 * Requests on a queue by `doIo`, many at a time, next to a model of what its part of the disk
 * holds: what was written with success is there, and each request ends once.
 */
import assert from 'node:assert/strict';
import { CompletionList, type Queue } from '../../src/blkio/index.ts';
import { assertSameBytes, patternBytes } from './request-bytes.ts';

const BLOCK_BYTES = 4096;
const BLOCKS_PER_LANE = 4;

/** The part of a disk that so many lanes use. */
export function loadBytes(lanes: number): number {
  return lanes * BLOCKS_PER_LANE * BLOCK_BYTES;
}

/** A lane has blocks of its own, and one request at a time: a write, then a read of the same. */
interface Lane {
  readonly firstBlock: number;
  readonly buffer: Uint8Array;
  round: number;
  isReading: boolean;
  isUnderWay: boolean;
  hasEnded: boolean;
}

/** See the module's comment. */
export class BlockingLoad {
  /** What the part of the disk holds. */
  readonly model: Uint8Array;
  /** Requests that have succeeded, and results of those that have not. */
  done = 0;
  readonly failures: number[] = [];
  readonly #queue: Queue;
  readonly #startBytes: number;
  readonly #completions: CompletionList;
  readonly #lanes: Lane[];

  /** @param buffers - one of 4096 bytes for each lane. @param startBytes - where the part begins. */
  constructor(queue: Queue, buffers: readonly Uint8Array[], startBytes: number) {
    this.model = new Uint8Array(loadBytes(buffers.length));
    this.#queue = queue;
    this.#startBytes = startBytes;
    this.#completions = new CompletionList(buffers.length);
    this.#lanes = buffers.map((buffer, lane) => ({
      firstBlock: lane * BLOCKS_PER_LANE,
      buffer,
      round: lane,
      isReading: false,
      isUnderWay: false,
      hasEnded: false,
    }));
  }

  /** Start a request on every lane that has none; `false` when all have ended by failing. */
  ask(): boolean {
    for (const lane of this.#lanes) if (!lane.isUnderWay && !lane.hasEnded) this.#start(lane);
    return this.#queue.outstanding > 0;
  }

  /** Take what is done: at least one. Throws as `doIo`, having taken what there was. */
  collect(timeoutMs?: number): void {
    this.#take(1, timeoutMs);
  }

  /** Hand over, and take what is done, without waiting. Returns how many. */
  takeDone(): number {
    this.#take(0);
    return this.#completions.count;
  }

  #take(min: number, timeoutMs?: number): void {
    const completions = this.#completions;
    try {
      this.#queue.doIo(completions, min, completions.capacity, timeoutMs);
    } finally {
      for (let at = 0; at < completions.count; at++) {
        this.#finish(completions.userData[at] as Lane, completions.results[at]);
      }
    }
  }

  /** Let everything end. */
  drain(): void {
    while (this.#queue.outstanding > 0) this.collect();
  }

  #placeOf({ firstBlock, round }: Lane): number {
    return (firstBlock + (round % BLOCKS_PER_LANE)) * BLOCK_BYTES;
  }

  #start(lane: Lane): void {
    const at = this.#placeOf(lane);
    lane.isUnderWay = true;
    if (lane.isReading) {
      lane.buffer.fill(0);
      this.#queue.read(this.#startBytes + at, lane.buffer, lane);
      return;
    }
    lane.buffer.set(patternBytes(BLOCK_BYTES, at + lane.round * 7));
    this.#queue.write(this.#startBytes + at, lane.buffer, lane);
  }

  #finish(lane: Lane, result: number): void {
    assert.ok(lane.isUnderWay, 'a request ends once');
    lane.isUnderWay = false;
    if (result !== 0) {
      this.failures.push(result);
      lane.hasEnded = true;
      return;
    }
    this.done += 1;
    const at = this.#placeOf(lane);
    const block = this.model.subarray(at, at + BLOCK_BYTES);
    if (lane.isReading) {
      assertSameBytes(lane.buffer, block, `block at ${this.#startBytes + at}`);
      lane.round += 1;
    } else {
      block.set(lane.buffer);
    }
    lane.isReading = !lane.isReading;
  }
}
