/**
 * Clusters of the image's file that a cluster of the disk does not use any more, from when its entry
 * has changed in memory until the change is on the disk: only then somebody else may have them.
 */

/** Clusters of the file, one after the other. */
export interface FreedRange {
  /** Offset of the first. */
  readonly host: number;
  count: number;
}

/** See the module's comment. */
export class FreeList {
  readonly #clusterBytes: number;
  #ranges: FreedRange[] = [];

  constructor(clusterBytes: number) {
    this.#clusterBytes = clusterBytes;
  }

  /** A use of the cluster at `host` has ended. */
  add(host: number): void {
    const last = this.#ranges.at(-1);
    if (last !== undefined && last.host + last.count * this.#clusterBytes === host) last.count += 1;
    else this.#ranges.push({ host, count: 1 });
  }

  /** A compressed cluster is not used any more: each of those it is in has a user less. */
  addBytes(start: number, end: number): void {
    const first = Math.floor(start / this.#clusterBytes) * this.#clusterBytes;
    for (let host = first; host < end; host += this.#clusterBytes) this.add(host);
  }

  get length(): number {
    return this.#ranges.length;
  }

  take(): FreedRange[] {
    const ranges = this.#ranges;
    this.#ranges = [];
    return ranges;
  }

  putBack(ranges: readonly FreedRange[]): void {
    this.#ranges.push(...ranges);
  }
}
