/**
 * Requests whose clusters do not lie one after the other: each run of clusters is a request of its own
 * to the disks below, with its part of the memory. Without promises, as the rest of the data path.
 */
import { Errno, PENDING, type Reactor } from '../../sys/index.ts';
import type { DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskRequests } from '../disk-requests.ts';
import { type ClusterRuns, MAX_RUNS } from './cluster-runs.ts';
import { ClusterState } from './cluster-states.ts';
import type { Qcow2Below } from './qcow2-disk.ts';

/** Parts under way at once; when there are none left, requests take another way. */
const PARTS = 128;

/** Where the parts of a request go. */
export interface SplitTarget {
  readonly below: Qcow2Below;
  readonly reactor: Reactor;
  readonly requests: DiskRequests;
  readonly clusterBytes: number;
  /** Told of requests that were pending. */
  readonly handler: DiskRequestHandler;
}

/** See the module's comment. */
export class SplitRequests implements DiskRequestHandler {
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  readonly #clusterBytes: number;
  readonly #parts = new DiskRequests(PARTS);
  readonly #lower: DiskChannel;
  readonly #backing: DiskChannel | undefined;
  readonly #free = new Uint16Array(PARTS);
  #freeCount = PARTS;
  /** By part: the request's slot. */
  readonly #owner = new Uint32Array(PARTS);
  /** By slot: parts that are not done, and what the request has failed with. */
  readonly #left: Uint32Array;
  readonly #result: Int32Array;

  constructor({ below, reactor, requests, clusterBytes, handler }: SplitTarget) {
    this.#requests = requests;
    this.#handler = handler;
    this.#clusterBytes = clusterBytes;
    this.#lower = below.lower.openChannel(reactor, this.#parts, this);
    this.#backing = below.backing?.openChannel(reactor, this.#parts, this);
    for (let part = 0; part < PARTS; part++) this.#free[part] = part;
    this.#left = new Uint32Array(requests.slots);
    this.#result = new Int32Array(requests.slots);
  }

  /** Whether a request of so many runs can be started. */
  hasRoom(runs: number): boolean {
    return runs <= Math.min(MAX_RUNS, this.#freeCount);
  }

  /** Start a request: 0 or a negative errno if all its parts are done, else `PENDING`. */
  start(slot: number, runs: ClusterRuns): number {
    const requests = this.#requests;
    const start = requests.offsetBytes(slot);
    const end = start + requests.lengthBytes[slot];
    // One more than there are parts, so that it is not done before all have been started.
    this.#left[slot] = 1;
    this.#result[slot] = 0;
    for (let run = 0; run < runs.count; run++) {
      const from = Math.max(start, runs.first[run] * this.#clusterBytes);
      const next = run + 1 < runs.count ? runs.first[run + 1] * this.#clusterBytes : end;
      const length = next - from;
      const kind = runs.kind[run];
      if (kind === ClusterState.ZEROS) {
        requests.iovecs.zero(slot, length);
        continue;
      }
      const isInFile = kind === ClusterState.DATA;
      const within = from - runs.first[run] * this.#clusterBytes;
      this.#startPart(slot, isInFile, isInFile ? runs.host[run] + within : from, length);
    }
    this.#left[slot] -= 1;
    return this.#left[slot] === 0 ? this.#result[slot] : PENDING;
  }

  #startPart(slot: number, isInFile: boolean, offset: number, length: number): void {
    const requests = this.#requests;
    const parts = this.#parts;
    this.#freeCount -= 1;
    const part = this.#free[this.#freeCount];
    this.#owner[part] = slot;
    parts.operation[part] = requests.operation[slot];
    parts.flags[part] = requests.flags[slot];
    parts.offsetLow[part] = offset | 0;
    parts.offsetHigh[part] = (offset / 2 ** 32) | 0;
    parts.lengthBytes[part] = length;
    this.#takeMemory(slot, part, length);
    this.#left[slot] += 1;
    const channel = isInFile ? this.#lower : this.#backing;
    const result = channel === undefined ? -Errno.EIO : channel.start(part);
    if (result !== PENDING) this.#endPart(part, result);
  }

  /** The next `length` bytes of the request's memory are the part's. */
  #takeMemory(slot: number, part: number, length: number): void {
    const { iovecs } = this.#requests;
    const { words } = iovecs;
    const own = this.#parts.iovecs;
    own.clear(part);
    for (let left = length; left > 0 && iovecs.remaining(slot) > 0; ) {
      const at = iovecs.firstWord(slot);
      const bytes = Math.min(left, words[at + 2] >>> 0);
      if (bytes === 0) {
        iovecs.first[slot] += 1;
        continue;
      }
      own.push(part, words[at], words[at + 1], bytes);
      iovecs.advance(slot, bytes);
      left -= bytes;
    }
  }

  #endPart(part: number, result: number): void {
    const slot = this.#owner[part];
    this.#free[this.#freeCount] = part;
    this.#freeCount += 1;
    this.#left[slot] -= 1;
    if (result !== 0) this.#result[slot] = result;
  }

  onDiskDone(part: number, result: number): void {
    const slot = this.#owner[part];
    this.#endPart(part, result);
    if (this.#left[slot] === 0) this.#handler.onDiskDone(slot, this.#result[slot]);
  }

  abandon(): void {
    this.#lower.abandon?.();
    this.#backing?.abandon?.();
  }

  close(): void {
    this.#lower.close();
    this.#backing?.close();
    this.#parts[Symbol.dispose]();
  }
}
