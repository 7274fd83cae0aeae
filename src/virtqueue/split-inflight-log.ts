/**
 * Which requests of a split ring are under way, written down in memory that outlives this process
 * (vhost-user.rst, "Inflight I/O tracking"): the next back-end does them again, in their order, and
 * no other ones. The layout is that of libvhost-user and DPDK.
 *
 * What makes it work is the order of stores. A process that is killed has made all stores up to
 * some point and none after it; nobody else reads the log until then, so program order is all that
 * matters, and the only store that the driver sees is that of the used index. Between any two:
 *
 * - `begin`: counter, then the mark. A request without its mark counts as not taken: nothing has
 *   been done for it, and the available entry is taken again.
 * - `finish`: links a head to the batch. Marks are as they were: all of the batch is done again,
 *   which does no harm, because the driver has been told of none.
 * - the used index is stored: the driver may see the batch. Marks still stand, but the log's used
 *   index is behind by the size of the batch, whose heads the links name: `recover` clears them.
 * - `commit`: marks of the batch are cleared. Should it stop half way, `recover` clears them all
 *   again: the log's used index, stored last, is still behind.
 *
 * The front-end has the memory, too, and may write anything there: every number is checked.
 */

import {
  headerFault,
  INFLIGHT_VERSION,
  type InflightMemory,
  LogBytes,
  LogHeader,
} from './inflight-memory.ts';

const { header: HEADER_BYTES, entry: ENTRY_BYTES } = LogBytes.split;

/** 16-bit words of the header. */
const Header = { ...LogHeader, LAST_BATCH_HEAD: 6, USED_IDX: 7 } as const;
/** Of an entry: the mark is a byte, the link a 16-bit word, the counter two 32-bit words. */
const ENTRY_WORDS_16 = 8;
const ENTRY_WORDS_32 = 4;
const NEXT_AT = (HEADER_BYTES + 6) / 2;
const COUNTER_AT = (HEADER_BYTES + 8) / 4;

/** What a log says about a ring that is to run. */
export interface SplitRecovery {
  /** Heads of requests to do again, oldest first. */
  readonly heads: Uint16Array;
  /** Nothing had been written yet: the log does not say which entries have been taken. */
  readonly isNew: boolean;
  /** Present if the log is not of this ring: why. */
  readonly fault?: string;
}

const NO_HEADS = new Uint16Array(0);

/** See the module's comment. Of one ring, used by one thread. */
export class SplitInflightLog {
  readonly queueSize: number;
  readonly #bytes: Uint8Array;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  /** Heads of the batch that is being finished. */
  readonly #batch: Uint16Array;
  #batchCount = 0;
  #counter = 0;

  constructor({ memory, queueSize }: InflightMemory) {
    this.queueSize = queueSize;
    this.#bytes = new Uint8Array(memory);
    this.#words16 = new Uint16Array(memory);
    this.#words32 = new Uint32Array(memory);
    this.#batch = new Uint16Array(queueSize);
  }

  /**
   * Bring the log in order before its ring runs, and tell what to do again.
   *
   * @param usedIdx - the used index that the driver sees.
   */
  recover(usedIdx: number): SplitRecovery {
    const words = this.#words16;
    const version = words[Header.VERSION];
    if (version === 0) {
      this.#initialise(usedIdx);
      return { heads: NO_HEADS, isNew: true };
    }
    const published = (usedIdx - words[Header.USED_IDX]) & 0xffff;
    const reason =
      headerFault(version, words[Header.DESC_NUM], this.queueSize) ??
      (published > this.queueSize ? `is ${published} used entries behind its ring` : undefined) ??
      this.#clearPublished(published);
    if (reason !== undefined) return fault(reason);
    words[Header.USED_IDX] = usedIdx;
    return { heads: this.#marked(), isNew: false };
  }

  #initialise(usedIdx: number): void {
    const words = this.#words16;
    for (let head = 0; head < this.queueSize; head++) this.#clear(head);
    words[Header.DESC_NUM] = this.queueSize;
    words[Header.LAST_BATCH_HEAD] = 0;
    words[Header.USED_IDX] = usedIdx;
    // Last: from now on the rest counts.
    words[Header.VERSION] = INFLIGHT_VERSION;
  }

  /** The driver has seen the batch, though the marks of some still stand. */
  #clearPublished(count: number): string | undefined {
    const words = this.#words16;
    let head = words[Header.LAST_BATCH_HEAD];
    for (let left = count; left > 0; left--) {
      if (head >= this.queueSize) return `links to descriptor ${head}`;
      this.#clear(head);
      head = words[NEXT_AT + head * ENTRY_WORDS_16];
    }
    return undefined;
  }

  /** Heads under way, in the order in which they were taken. */
  #marked(): Uint16Array {
    const found: { head: number; counter: number }[] = [];
    for (let head = 0; head < this.queueSize; head++) {
      if (this.#bytes[HEADER_BYTES + head * ENTRY_BYTES] === 0) continue;
      const at = COUNTER_AT + head * ENTRY_WORDS_32;
      found.push({ head, counter: this.#words32[at + 1] * 2 ** 32 + this.#words32[at] });
    }
    found.sort((a, b) => a.counter - b.counter);
    this.#counter = found.length === 0 ? 0 : found[found.length - 1].counter + 1;
    return Uint16Array.from(found, ({ head }) => head);
  }

  #clear(head: number): void {
    this.#bytes[HEADER_BYTES + head * ENTRY_BYTES] = 0;
  }

  /** A head has been taken from the available ring. What is no head is left out. */
  begin(head: number): void {
    if (head >= this.queueSize) return;
    const at = COUNTER_AT + head * ENTRY_WORDS_32;
    this.#words32[at] = this.#counter;
    this.#words32[at + 1] = this.#counter / 2 ** 32;
    this.#counter += 1;
    this.#bytes[HEADER_BYTES + head * ENTRY_BYTES] = 1;
  }

  /** A head has been put on the used ring, and will be published. */
  finish(head: number): void {
    const words = this.#words16;
    words[NEXT_AT + head * ENTRY_WORDS_16] = words[Header.LAST_BATCH_HEAD];
    words[Header.LAST_BATCH_HEAD] = head;
    if (this.#batchCount < this.#batch.length) this.#batch[this.#batchCount++] = head;
  }

  /** The used index has been published. */
  commit(usedIdx: number): void {
    for (let at = 0; at < this.#batchCount; at++) this.#clear(this.#batch[at]);
    this.#batchCount = 0;
    this.#words16[Header.USED_IDX] = usedIdx;
  }
}

function fault(reason: string): SplitRecovery {
  return { heads: NO_HEADS, isNew: false, fault: `the in-flight log ${reason}` };
}
