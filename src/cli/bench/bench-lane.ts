/**
 * One queue under load: as many requests under way as its depth, or as its rate allows. The loop
 * allocates nothing for a request: buffers, times and directions are kept by place.
 */
import { BlkioError, CompletionList, type Queue } from '../../blkio/index.ts';
import { LatencyHistogram } from '../../storage/index.ts';
import { errnoMessage } from '../../sys/index.ts';
import type { LaneResult, LoadPlan } from './bench-plan.ts';

/** What a lane works on. */
export interface LaneParts {
  readonly queue: Queue;
  readonly load: LoadPlan;
  readonly capacityBytes: number;
  /** A buffer for each place. */
  readonly buffers: readonly Uint8Array[];
  /** This lane among all: sequential ones start at different places, random ones differ. */
  readonly index: number;
  readonly lanes: number;
}

/** See the module's comment. */
export class BenchLane {
  readonly #parts: LaneParts;
  readonly #completions: CompletionList;
  readonly #startedMs: Float64Array;
  readonly #offsets: Float64Array;
  readonly #isRead: Uint8Array;
  readonly #idle: Int32Array;
  readonly #histogram = new LatencyHistogram();
  readonly #blocks: number;
  readonly #intervalMs: number;
  #idleCount: number;
  #nextBlock: number;
  #random: number;
  #dueMs = 0;
  #beganMs = 0;
  #endedMs = 0;
  #reads = 0;
  #writes = 0;
  #calls = 0;
  #minCompletions = Number.POSITIVE_INFINITY;
  #maxCompletions = 0;

  constructor(parts: LaneParts) {
    const { load, capacityBytes, index, lanes } = parts;
    const { depth } = load;
    this.#parts = parts;
    this.#completions = new CompletionList(depth);
    this.#startedMs = new Float64Array(depth);
    this.#offsets = new Float64Array(depth);
    this.#isRead = new Uint8Array(depth);
    this.#idle = Int32Array.from({ length: depth }, (_, place) => depth - 1 - place);
    this.#idleCount = depth;
    this.#blocks = Math.floor(capacityBytes / load.blockBytes);
    this.#intervalMs = load.rate === 0 ? 0 : 1000 / load.rate;
    this.#nextBlock = Math.floor((this.#blocks * index) / lanes);
    this.#random = Math.imul(index + 1, 0x9e3779b1) | 1;
  }

  get outstanding(): number {
    return this.#parts.queue.outstanding;
  }

  begin(nowMs: number): void {
    this.#beganMs = nowMs;
    this.#endedMs = nowMs;
    this.#dueMs = nowMs;
  }

  /**
   * Start what is due, and take what is done.
   *
   * @param mayWait - sleep until there is something to do; else only look.
   * @throws BlkioError: a request failed, or as `Queue.doIo`.
   */
  turn(nowMs: number, mayWait: boolean): void {
    this.#startDue(nowMs);
    const { queue } = this.#parts;
    const outstanding = queue.outstanding;
    if (this.#idleCount === 0 || this.#intervalMs === 0) {
      this.#collect(mayWait ? Math.min(1, outstanding) : 0, Number.POSITIVE_INFINITY);
      return;
    }
    const waitMs = this.#dueMs - nowMs;
    if (outstanding === 0 && mayWait) sleep(waitMs);
    else this.#collect(mayWait ? Math.min(1, outstanding) : 0, Math.max(0, waitMs));
  }

  #startDue(nowMs: number): void {
    while (this.#idleCount > 0 && this.#dueMs <= nowMs) {
      this.#start(this.#idle[--this.#idleCount], nowMs);
      this.#dueMs += this.#intervalMs;
    }
  }

  #start(place: number, nowMs: number): void {
    const { queue, load, buffers } = this.#parts;
    const offset = this.#pickBlock() * load.blockBytes;
    const isRead = load.readPercent === 100 || this.#draw(100) < load.readPercent;
    this.#startedMs[place] = nowMs;
    this.#offsets[place] = offset;
    this.#isRead[place] = isRead ? 1 : 0;
    if (isRead) queue.read(offset, buffers[place], place);
    else queue.write(offset, buffers[place], place);
  }

  #pickBlock(): number {
    if (this.#parts.load.random) return this.#draw(this.#blocks);
    const block = this.#nextBlock;
    this.#nextBlock = block + 1 < this.#blocks ? block + 1 : 0;
    return block;
  }

  /** A whole number below `limit`, which costs no memory as a fraction would; xorshift32. */
  #draw(limit: number): number {
    let state = this.#random;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#random = state;
    return Math.floor(((state >>> 0) / 2 ** 32) * limit);
  }

  #collect(min: number, timeoutMs: number): void {
    const { queue } = this.#parts;
    const completions = this.#completions;
    try {
      queue.doIo(completions, min, completions.capacity, timeoutMs);
    } catch (error) {
      // Time for the next request.
      if (!(error instanceof BlkioError) || error.code !== 'ETIME') throw error;
    }
    this.#calls += 1;
    const { count } = completions;
    if (count === 0) return;
    if (count < this.#minCompletions) this.#minCompletions = count;
    if (count > this.#maxCompletions) this.#maxCompletions = count;
    const nowMs = performance.now();
    for (let at = 0; at < count; at++) this.#finish(at, nowMs);
    this.#endedMs = nowMs;
  }

  #finish(at: number, nowMs: number): void {
    const completions = this.#completions;
    const place = completions.userData[at] as number;
    if (completions.results[at] !== 0) this.#fail(at, place);
    this.#histogram.record((nowMs - this.#startedMs[place]) * 1000);
    if (this.#isRead[place] === 1) this.#reads += 1;
    else this.#writes += 1;
    this.#idle[this.#idleCount++] = place;
  }

  #fail(at: number, place: number): never {
    const { results, messages } = this.#completions;
    const what = this.#isRead[place] === 1 ? 'read' : 'write';
    const reason = messages[at] ?? errnoMessage(-results[at]);
    throw new BlkioError('EIO', `${what} at ${this.#offsets[place]}: ${reason}`);
  }

  /** Wait for what is under way, without counting it. */
  drain(): void {
    while (this.outstanding > 0) this.#parts.queue.doIo(this.#completions, 1);
  }

  result(): LaneResult {
    const { counts, totals } = this.#histogram;
    return {
      seconds: (this.#endedMs - this.#beganMs) / 1000,
      reads: this.#reads,
      writes: this.#writes,
      calls: this.#calls,
      minCompletions: this.#maxCompletions === 0 ? 0 : this.#minCompletions,
      maxCompletions: this.#maxCompletions,
      counts,
      totals,
    };
  }
}

const nothing = new Int32Array(new SharedArrayBuffer(4));

/** Let the thread sleep. */
function sleep(durationMs: number): void {
  if (durationMs > 0) Atomics.wait(nothing, 0, 0, durationMs);
}
