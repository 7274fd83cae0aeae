/**
 * Requests on a queue, now a few at a time and now many, whose completions are taken whenever the
 * completion descriptor says so: whoever runs it sleeps in a wait for that descriptor, and nowhere
 * else. Each request ends once and succeeds, and reads give what the disk holds.
 */
import assert from 'node:assert/strict';
import { CompletionList, MemoryRegion, type Queue, RequestFlag } from '../../src/blkio/index.ts';
import { Errno } from '../../src/sys/index.ts';
import { resultName } from './blkio-queue-results.ts';
import { awaitReadable } from './readable-descriptor.ts';
import { patternBytes } from './request-bytes.ts';

const BLOCK_BYTES = 4096;
/** Blocks that are read; those after them are written. */
const READ_BLOCKS = 64;
const WRITE_BLOCKS = 64;
const MAX_DEPTH = 64;
/** One request in this many is to be stable, and one is wrong. */
const STABLE_EVERY = 199;
const WRONG_EVERY = 61;

/** What the disk must hold before. */
export function loadContent(): Uint8Array {
  const content = new Uint8Array((READ_BLOCKS + WRITE_BLOCKS) * BLOCK_BYTES);
  for (let block = 0; block < READ_BLOCKS; block++) {
    content.set(patternBytes(BLOCK_BYTES, block), block * BLOCK_BYTES);
  }
  return content;
}

/** A request, and its buffer. */
interface Lane {
  readonly buffer: Uint8Array;
  expected: Uint8Array | undefined;
  isWrong: boolean;
}

export interface EventDrivenLoadOptions {
  /** Requests to make; `Infinity`: until `askNoMore`. */
  readonly total: number;
  /** Another sequence of depths and requests. */
  readonly seed: number;
  /** Most completions to take at a time; default: all there are. */
  readonly max?: number;
}

/** See the module's comment. */
export class EventDrivenLoad implements Disposable {
  readonly queue: Queue;
  #total: number;
  readonly #max: number;
  readonly #content = loadContent();
  readonly #random: Uint8Array;
  readonly #completions = new CompletionList(MAX_DEPTH);
  /** Buffers aligned as direct I/O likes them. */
  readonly #region = MemoryRegion.allocate(MAX_DEPTH * BLOCK_BYTES);
  readonly #lanes: Lane[];
  #drawn = 0;
  #started = 0;
  /** Requests that have ended, and times that `run` went to sleep. */
  done = 0;
  sleeps = 0;

  /** @param queue - with a completion descriptor, enabled. */
  constructor(queue: Queue, options: EventDrivenLoadOptions) {
    this.queue = queue;
    this.#total = options.total;
    this.#max = options.max ?? MAX_DEPTH;
    this.#random = patternBytes(65_521, options.seed);
    this.#lanes = Array.from({ length: MAX_DEPTH }, (_, lane) => ({
      buffer: this.#region.view(lane * BLOCK_BYTES, BLOCK_BYTES),
      expected: undefined,
      isWrong: false,
    }));
  }

  get isDone(): boolean {
    return this.done === this.#total;
  }

  /** Make no more requests than have been made. */
  askNoMore(): void {
    this.#total = this.#started;
  }

  /** Make all requests, sleeping in between. */
  run(): void {
    for (;;) {
      this.takeAll();
      if (this.isDone) return;
      this.sleeps += 1;
      awaitReadable(this.queue.completionFd);
    }
  }

  /** Take completions and make requests, until there is nothing to do but sleep. */
  takeAll(): void {
    do {
      this.queue.doIo(this.#completions, 0, this.#max);
      this.#finish();
      // What `max` leaves keeps the descriptor readable.
      if (this.#completions.count === this.#max && this.queue.outstanding > 0) return;
    } while (this.#completions.count > 0 || this.#ask());
  }

  #draw(): number {
    return this.#random[this.#drawn++ % this.#random.length];
  }

  /** Make some requests, unless there are many. True if there are any to hand over. */
  #ask(): boolean {
    const before = this.#started;
    const random = this.#draw();
    // With a single request nobody else's wake-up makes up for one that is lost.
    const depth = random % 8 > 0 ? 1 + (random % 3) : 1 + (this.#draw() % MAX_DEPTH);
    while (this.queue.outstanding < depth && this.#started < this.#total) this.#start();
    return this.#started > before;
  }

  #start(): void {
    const lane = this.#lanes.pop();
    assert.ok(lane !== undefined);
    const [random, number] = [this.#draw(), this.#started++];
    lane.expected = undefined;
    lane.isWrong = number % WRONG_EVERY === WRONG_EVERY - 1;
    if (lane.isWrong) {
      this.queue.read(-BLOCK_BYTES, lane.buffer, lane);
    } else if (random % 4 === 0) {
      const flags = number % STABLE_EVERY === 0 ? RequestFlag.FUA : 0;
      const at = (READ_BLOCKS + (random % WRITE_BLOCKS)) * BLOCK_BYTES;
      this.queue.write(at, lane.buffer, lane, flags);
    } else {
      const at = (random % READ_BLOCKS) * BLOCK_BYTES;
      lane.expected = this.#content.subarray(at, at + BLOCK_BYTES);
      this.queue.read(at, lane.buffer, lane);
    }
  }

  #finish(): void {
    const { count, results, userData } = this.#completions;
    for (let index = 0; index < count; index++) {
      const lane = userData[index] as Lane;
      const wanted = lane.isWrong ? -Errno.EINVAL : 0;
      assert.equal(resultName(results[index]), resultName(wanted));
      if (lane.expected !== undefined) {
        assert.ok(Buffer.compare(lane.buffer, lane.expected) === 0, 'other data');
      }
      this.#lanes.push(lane);
      this.done += 1;
    }
  }

  /** Nothing is outstanding. */
  [Symbol.dispose](): void {
    this.#region[Symbol.dispose]();
  }
}
