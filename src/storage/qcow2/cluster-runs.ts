/**
 * Where the bytes of a request are: its clusters, as far as tables in memory say, put together where
 * they lie one after the other. For the data path: nothing is allocated.
 */
import { ClusterState } from './cluster-states.ts';
import { hostOffset } from './l2-entry.ts';
import type { Qcow2Image } from './qcow2-image.ts';

/** A request of more runs is not split, but takes the way of those that need tables. */
export const MAX_RUNS = 32;
/** No slice is missing. */
export const NO_SLICE = -1;

const DATA = ClusterState.DATA;
const READABLE = DATA | ClusterState.ZEROS | ClusterState.BACKING;

/** See the module's comment. What the last `find` has found is in the arrays, by run. */
export class ClusterRuns {
  count = 0;
  /** DATA, ZEROS or BACKING, of `ClusterState`. */
  readonly kind = new Uint8Array(MAX_RUNS);
  /** Of its first cluster: number, and offset in the image's file if it is DATA. */
  readonly first = new Float64Array(MAX_RUNS);
  readonly host = new Float64Array(MAX_RUNS);
  /** The slice that has to be in memory first; `NO_SLICE`: that is not what is in the way. */
  missingSlice = NO_SLICE;
  readonly #image: Qcow2Image;
  readonly #clusterBytes: number;
  readonly #perSlice: number;

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.#clusterBytes = image.layout.clusterBytes;
    this.#perSlice = image.layout.entriesPerSlice;
  }

  /** Find the runs of clusters. False if one of them needs more than to be passed on. */
  find(first: number, last: number, isWrite: boolean): boolean {
    const { cache, states, tables } = this.#image;
    const perSlice = this.#perSlice;
    this.count = 0;
    this.missingSlice = NO_SLICE;
    let slice = Math.floor(first / perSlice);
    let entry = first - slice * perSlice;
    let slot = cache.find(slice);
    for (let cluster = first; cluster <= last; cluster++) {
      if (entry === perSlice) {
        slice += 1;
        entry = 0;
        slot = cache.find(slice);
      }
      if (slot >= 0) {
        if (!this.#look(slot * perSlice + entry, cluster, isWrite)) return false;
      } else if (!tables.isAbsent(slice)) {
        this.missingSlice = slice;
        return false;
      } else if (isWrite || !this.#add(states.unallocated(cluster), cluster, 0)) return false;
      entry += 1;
    }
    return true;
  }

  /** Take in the next cluster. @param place - of its entry in the cache. */
  #look(place: number, cluster: number, isWrite: boolean): boolean {
    const { cache, file, states } = this.#image;
    let state = cache.states[place];
    if (state === 0) state = states.learn(place, cluster);
    if (isWrite && (state & ClusterState.WRITABLE) === 0) return false;
    if ((state & DATA) === 0) return this.#add(state, cluster, 0);
    const host = hostOffset(cache.words[2 * place], cache.words[2 * place + 1]);
    return host + this.#clusterBytes <= file.sizeBytes && this.#add(state, cluster, host);
  }

  /** Take in a cluster in that state. @param host - of DATA: its offset in the image's file. */
  #add(state: number, cluster: number, host: number): boolean {
    const kind = state & READABLE;
    if (kind === 0) return false;
    const last = this.count - 1;
    if (last >= 0 && this.kind[last] === kind) {
      const distance = (cluster - this.first[last]) * this.#clusterBytes;
      if (kind !== DATA || host === this.host[last] + distance) return true;
    }
    if (this.count === MAX_RUNS) return false;
    this.kind[this.count] = kind;
    this.first[this.count] = cluster;
    this.host[this.count] = host;
    this.count += 1;
    return true;
  }
}
