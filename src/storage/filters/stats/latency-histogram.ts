/**
 * How often each latency was seen: buckets that are exact for short latencies and at most 1/32 wide
 * for long ones. Recording allocates nothing.
 */

/** Ticks of 10 ns: 2^31 of them are 21 s, and what takes longer counts as that. */
const TICKS_PER_US = 100;
const MAX_TICKS = 2 ** 31 - 1;
/** Buckets of a histogram, and the numbers of its totals. */
export const LATENCY_BUCKETS = 27 * 32;
export const LATENCY_TOTALS = 4;

function bucketOf(ticks: number): number {
  const shift = Math.max(0, 26 - Math.clz32(ticks));
  return (shift << 5) + (ticks >>> shift);
}

/** The least latency of a bucket, in microseconds. */
function lowerBoundUs(bucket: number): number {
  const shift = Math.max(0, (bucket >> 5) - 1);
  return ((bucket - (shift << 5)) * 2 ** shift) / TICKS_PER_US;
}

/** A range of latencies for people to see, in microseconds. */
export interface LatencyRange {
  readonly fromUs: number;
  readonly toUs: number;
  readonly count: number;
}

/** See the module's comment. */
export class LatencyHistogram {
  /** How often, by bucket. */
  readonly counts: Float64Array;
  /** Completions, and their latencies together, least and most, in microseconds. */
  readonly totals: Float64Array;
  readonly #one = new Float64Array(1);

  constructor(counts: Float64Array = new Float64Array(LATENCY_BUCKETS), totals?: Float64Array) {
    this.counts = counts;
    this.totals = totals ?? Float64Array.of(0, 0, Number.POSITIVE_INFINITY, 0);
  }

  record(latencyUs: number): void {
    this.#one[0] = latencyUs;
    this.recordAt(this.#one, 0);
  }

  /** As `record`, of a number in memory: handed over by itself it might be boxed. */
  recordAt(latenciesUs: Float64Array, index: number): void {
    const latencyUs = latenciesUs[index];
    const { totals } = this;
    totals[0] += 1;
    totals[1] += latencyUs;
    if (latencyUs < totals[2]) totals[2] = latencyUs;
    if (latencyUs > totals[3]) totals[3] = latencyUs;
    this.counts[bucketOf(Math.min(MAX_TICKS, latencyUs * TICKS_PER_US) | 0)] += 1;
  }

  get count(): number {
    return this.totals[0];
  }

  get meanUs(): number {
    return this.count === 0 ? 0 : this.totals[1] / this.count;
  }

  get minUs(): number {
    return this.count === 0 ? 0 : this.totals[2];
  }

  get maxUs(): number {
    return this.totals[3];
  }

  /** Add what another one has seen. */
  merge(other: LatencyHistogram): void {
    other.counts.forEach((count, bucket) => {
      this.counts[bucket] += count;
    });
    this.totals[0] += other.totals[0];
    this.totals[1] += other.totals[1];
    this.totals[2] = Math.min(this.totals[2], other.totals[2]);
    this.totals[3] = Math.max(this.totals[3], other.totals[3]);
  }

  /** What was seen since an earlier moment; of least and most nothing more is known. */
  since(earlier: LatencyHistogram): LatencyHistogram {
    const [count, sum, least, most] = this.totals;
    const totals = Float64Array.of(count - earlier.totals[0], sum - earlier.totals[1], least, most);
    const counts = this.counts.map((number, bucket) => number - earlier.counts[bucket]);
    return new LatencyHistogram(counts, totals);
  }

  /** The latency that `percent` of the completions did not exceed, in microseconds. */
  percentileUs(percent: number): number {
    const wanted = (this.count * percent) / 100;
    let seen = 0;
    for (let bucket = 0; bucket < this.counts.length; bucket++) {
      seen += this.counts[bucket];
      if (seen >= wanted && seen > 0) return Math.min(lowerBoundUs(bucket + 1), this.maxUs);
    }
    return this.maxUs;
  }

  /** What was seen by powers of two, from the shortest to the longest; ranges between may be empty. */
  ranges(): LatencyRange[] {
    const counts = new Map<number, number>();
    this.counts.forEach((count, bucket) => {
      if (count === 0) return;
      const exponent = Math.max(0, Math.floor(Math.log2(Math.max(1, lowerBoundUs(bucket)))));
      counts.set(exponent, (counts.get(exponent) ?? 0) + count);
    });
    if (counts.size === 0) return [];
    const first = Math.min(...counts.keys());
    const last = Math.max(...counts.keys());
    return Array.from({ length: last - first + 1 }, (_, index) => ({
      fromUs: first + index === 0 ? 0 : 2 ** (first + index),
      toUs: 2 ** (first + index + 1),
      count: counts.get(first + index) ?? 0,
    }));
  }
}
