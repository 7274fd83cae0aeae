/**
 * The log of guest pages that a device has written, for live migration (vhost-user.rst,
 * "Migration"): one bit a page of 4096 bytes of guest physical address, bit `page % 8` of byte
 * `page / 8`, in a file that the front-end has mapped, too. It fetches and clears the bits while
 * the guest runs, and copies the pages they stand for (again).
 *
 * No write may be missed, so a page is marked *after* it was written: a bit set before could be
 * fetched, and the page copied, ahead of the write. All users keep that order:
 *
 * - data and status are marked before the used index that shows them is stored;
 * - used entries and the index itself right after that store. The driver may see them a moment
 *   earlier, the front-end has no use for that: it trusts the log only once the ring was stopped
 *   (GET_VRING_BASE), which the ring's own thread answers, after all its marks.
 *
 * Marking is an atomic operation on the byte, in any case. To look first whether the bit is set
 * already would be wrong: the look could come before the page's write has become visible, and
 * between the two the front-end could fetch the bit and copy the old page.
 */

/** Bytes of guest memory that a bit stands for. */
export const LOG_PAGE_BYTES = 4096;
const PAGE_SHIFT = 12;
/** Pages of 4 GiB. */
const PAGES_OF_HIGH_WORD = 2 ** (32 - PAGE_SHIFT);

/** See the module's comment. Used by one thread; others may have logs of their own over the bits. */
export class DirtyLog {
  /**
   * Calls of `mark` that went beyond the log, wholly or in part, since somebody set this to 0. The
   * front-end has made the log too small: nothing is written there, and its copy of the guest will
   * lack these pages.
   */
  missedCount = 0;
  readonly #bits: Uint8Array;
  readonly #pages: number;

  /** @param bits - shared with the front-end, and with the other queues of the device. */
  constructor(bits: Uint8Array) {
    this.#bits = bits;
    this.#pages = bits.length * 8;
  }

  /**
   * Guest memory was written: mark all pages that the range touches.
   *
   * @param addressLow, addressHigh - the guest address in halves.
   * @param lengthBytes - below 2^32; 0 marks nothing.
   */
  mark(addressLow: number, addressHigh: number, lengthBytes: number): void {
    if (lengthBytes <= 0) return;
    const inPage = addressLow & (LOG_PAGE_BYTES - 1);
    const first = (addressHigh >>> 0) * PAGES_OF_HIGH_WORD + (addressLow >>> PAGE_SHIFT);
    let last = first + Math.floor((inPage + lengthBytes - 1) / LOG_PAGE_BYTES);
    if (last >= this.#pages) {
      this.missedCount += 1;
      if (first >= this.#pages) return;
      last = this.#pages - 1;
    }
    const bits = this.#bits;
    const lastByte = Math.floor(last / 8);
    let mask = (0xff << (first & 7)) & 0xff;
    for (let byte = Math.floor(first / 8); byte < lastByte; byte++) {
      Atomics.or(bits, byte, mask);
      mask = 0xff;
    }
    Atomics.or(bits, lastByte, mask & (0xff >>> (7 - (last & 7))));
  }

  /** The same, with the address as one number below 2^53. */
  markAt(address: number, lengthBytes: number): void {
    this.mark(address | 0, (address / 2 ** 32) | 0, lengthBytes);
  }
}
