/**
 * Which chains of a packed ring are under way, written down in memory that outlives this process:
 * as `SplitInflightLog`, for the other format. Used descriptors go where others were that are under
 * way, so a chain's descriptors are copied here, and done again from here.
 *
 * What makes it work is the order of stores; see `SplitInflightLog` for why. Between any two:
 *
 * - `begin` writes into entries that are on the free list, and in the end takes them off it: until
 *   `old_free_head` is stored, the chain counts as not taken, and is taken from the ring again.
 * - `prepare` puts a chain's entries back on the list, and moves the used position on, but not the
 *   old ones: until the driver can see the used descriptor, `recover` goes back to those.
 * - the flags of the used descriptor are stored: the driver may see it.
 * - `commit`: the mark is cleared, and the old ones follow. `recover` finishes that. It knows from
 *   the ring that the driver may have seen the descriptor; once the mark is cleared, from that:
 *   while the old position is being moved, there is no looking at where it is.
 *
 * There is no batch: `prepare` and `commit` enclose the store of one used descriptor, so that no
 * others are in the ring, as yet invisible, which another back-end would not know of.
 *
 * The front-end has the memory, too, and may write anything there. It is read once, by `recover`,
 * which believes nothing; all that is needed afterwards is kept here as well.
 */
import { INFLIGHT_VERSION, type InflightMemory } from './inflight-memory.ts';
import {
  entryByte,
  entryWord16,
  entryWord32,
  PackedEntry,
  PackedHeader,
} from './packed-inflight-layout.ts';
import { PackedLogReader } from './packed-inflight-reader.ts';
import { advance, offsetOf, PackedWord } from './packed-layout.ts';

/**
 * Make of zeros what DPDK makes of them when it gives memory away: it looks for the free list there
 * when it is the first to use it. For this code it is a log in which nothing has been written yet.
 */
export function prepareInflightLog(memory: ArrayBuffer, queueSize: number): void {
  const words = new Uint16Array(memory);
  const bytes = new Uint8Array(memory);
  for (let entry = 0; entry < queueSize; entry++) {
    words[entryWord16(entry) + PackedEntry.NEXT] = entry + 1;
  }
  bytes[PackedHeader.USED_WRAP_BYTE] = 1;
  bytes[PackedHeader.OLD_USED_WRAP_BYTE] = 1;
}

/** What a log says about a ring that is to run. */
export interface PackedRecovery {
  /** First entries of chains to do again, oldest first. */
  readonly chains: Uint16Array;
  /** Their descriptors as they were in the ring, one chain after the other. */
  readonly descriptors: DataView;
  /** Position of the next used descriptor: the driver has seen all before. */
  readonly used: number;
  /** Nothing had been written yet: the log does not say where the ring goes on. */
  readonly isNew: boolean;
  /** Present if the log is not of this ring: why. */
  readonly fault?: string;
}

/** See the module's comment. Of one ring, used by one thread. */
export class PackedInflightLog {
  readonly #queueSize: number;
  readonly #ringSize: number;
  readonly #memory: ArrayBuffer;
  readonly #bytes: Uint8Array;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  /** What is written down of entries, and of the header, to be read. */
  readonly #next: Uint16Array;
  readonly #last: Uint16Array;
  readonly #length: Uint16Array;
  readonly #bufferId: Uint16Array;
  #freeHead = 0;
  #used = 0;
  #counter = 0;

  /** @param ringSize - at most as large as the log is made for. */
  constructor({ memory, queueSize }: InflightMemory, ringSize: number) {
    this.#queueSize = queueSize;
    this.#ringSize = ringSize;
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory);
    this.#words16 = new Uint16Array(memory);
    this.#words32 = new Uint32Array(memory);
    this.#next = Uint16Array.from({ length: queueSize }, (_, entry) => entry + 1);
    this.#last = new Uint16Array(queueSize);
    this.#length = new Uint16Array(queueSize);
    this.#bufferId = new Uint16Array(queueSize);
  }

  /**
   * Bring the log in order before its ring runs, and tell what to do again.
   *
   * @param used - where used descriptors go on if nothing is written down.
   * @param isUsed - whether the driver can see that the descriptor at a position is used, or has
   * made another available there.
   */
  recover(used: number, isUsed: (position: number) => boolean): PackedRecovery {
    const reader = new PackedLogReader(this.#memory, this.#queueSize, this.#ringSize);
    if (reader.version === 0) {
      this.#initialise(used);
      return { ...reader.nothing, used, isNew: true };
    }
    const fault = reader.read(isUsed);
    if (fault !== undefined) {
      return { ...reader.nothing, used, isNew: false, fault: `the in-flight log ${fault}` };
    }
    this.#next.set(reader.next);
    reader.chains.forEach((entry) => {
      this.#last[entry] = reader.lastOf(entry);
      this.#length[entry] = reader.lengthOf(entry);
      this.#bufferId[entry] = reader.bufferIdOf(entry);
    });
    this.#counter = reader.nextCounter;
    this.#freeHead = reader.freeHead;
    this.#used = reader.used;
    this.#repair(reader);
    const { chains, descriptors } = reader;
    return { chains, descriptors, used: this.#used, isNew: false };
  }

  /** Finish what was being committed, or take back what was prepared or begun. */
  #repair(reader: PackedLogReader): void {
    // First of all that of the chain that was being committed: see the module's comment.
    if (reader.freeHead < this.#queueSize) this.#unmark(reader.freeHead);
    if (reader.isCommitted) {
      this.#storeOld();
    } else {
      // The list's head last: as long as it is another one, its mark tells that nothing was seen.
      this.#storeUsed();
      this.#words16[PackedHeader.FREE_HEAD] = this.#freeHead;
    }
    for (const entry of reader.freeEntries) this.#unmark(entry);
  }

  #initialise(used: number): void {
    const words = this.#words16;
    for (let entry = 0; entry < this.#queueSize; entry++) {
      this.#unmark(entry);
      words[entryWord16(entry) + PackedEntry.NEXT] = this.#next[entry];
    }
    this.#used = used;
    words[PackedHeader.DESC_NUM] = this.#queueSize;
    words[PackedHeader.FREE_HEAD] = this.#freeHead;
    this.#storeUsed();
    this.#storeOld();
    // Last: from now on the rest counts.
    words[PackedHeader.VERSION] = INFLIGHT_VERSION;
  }

  #unmark(entry: number): void {
    this.#bytes[entryByte(entry)] = 0;
  }

  #storeUsed(): void {
    this.#words16[PackedHeader.USED_IDX] = offsetOf(this.#used, this.#ringSize);
    this.#bytes[PackedHeader.USED_WRAP_BYTE] = this.#used < this.#ringSize ? 1 : 0;
  }

  #storeOld(): void {
    this.#words16[PackedHeader.OLD_FREE_HEAD] = this.#freeHead;
    this.#words16[PackedHeader.OLD_USED_IDX] = offsetOf(this.#used, this.#ringSize);
    this.#bytes[PackedHeader.OLD_USED_WRAP_BYTE] = this.#used < this.#ringSize ? 1 : 0;
  }

  /**
   * A chain has been taken from the ring. There are entries for it: no more descriptors can be under
   * way than the ring has, and the log is no smaller.
   *
   * @param descriptors - as they were in the ring, `count` of them.
   * @returns its first entry, which names it from now on.
   */
  begin(descriptors: Uint32Array, count: number, bufferId: number): number {
    const words = this.#words32;
    const first = this.#freeHead;
    let last = first;
    let entry = first;
    for (let index = 0; index < count; index++) {
      const from = index * PackedWord.WORDS_32;
      const at = entryWord32(entry);
      words[at + PackedEntry.ADDRESS] = descriptors[from];
      words[at + PackedEntry.ADDRESS + 1] = descriptors[from + 1];
      words[at + PackedEntry.LENGTH] = descriptors[from + PackedWord.LENGTH];
      words[at + PackedEntry.ID_AND_FLAGS] = descriptors[from + PackedWord.ID_AND_FLAGS];
      last = entry;
      entry = this.#next[entry];
    }
    this.#last[first] = last;
    this.#length[first] = count;
    this.#bufferId[first] = bufferId;
    this.#freeHead = entry;
    this.#storeChain(first, last, count);
    return first;
  }

  #storeChain(first: number, last: number, count: number): void {
    const words = this.#words16;
    const counterAt = entryWord32(first) + PackedEntry.COUNTER;
    words[entryWord16(first) + PackedEntry.LAST] = last;
    words[entryWord16(first) + PackedEntry.NUM] = count;
    this.#words32[counterAt] = this.#counter;
    this.#words32[counterAt + 1] = this.#counter / 2 ** 32;
    this.#counter += 1;
    this.#bytes[entryByte(first)] = 1;
    words[PackedHeader.FREE_HEAD] = this.#freeHead;
    words[PackedHeader.OLD_FREE_HEAD] = this.#freeHead;
  }

  /** Descriptors of a chain under way, and the driver's number for it, by its first entry. */
  lengthOf(entry: number): number {
    return this.#length[entry];
  }

  bufferIdOf(entry: number): number {
    return this.#bufferId[entry];
  }

  /** The used descriptor of a chain is about to be shown. */
  prepare(entry: number): void {
    const last = this.#last[entry];
    this.#next[last] = this.#freeHead;
    this.#words16[entryWord16(last) + PackedEntry.NEXT] = this.#freeHead;
    this.#freeHead = entry;
    this.#words16[PackedHeader.FREE_HEAD] = entry;
    this.#used = advance(this.#used, this.#length[entry], this.#ringSize);
    this.#storeUsed();
  }

  /** It has been shown. */
  commit(entry: number): void {
    this.#unmark(entry);
    this.#storeOld();
  }
}
