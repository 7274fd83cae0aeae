/**
 * Direct I/O for requests that do not meet its alignment, by way of an aligned buffer.
 *
 * Guests keep to the block size that the disk announces, with exceptions: firmware and some
 * drivers use 512-byte sectors whatever it says, and applications may pass odd addresses. Such
 * requests are rare; they are done one after the other, in the calling thread. A write that covers
 * a block only in part has to read it first; of such writes only one is under way in the whole
 * process, or two could each write back what the other had changed.
 */
import { IO_ERROR, Mapping, type SharedMutex } from '../../sys/index.ts';
import type { DiskRequests } from '../disk-requests.ts';
import type { FileCalls } from './file-calls.ts';
import { restIsZeros } from './file-size.ts';

/** Bytes of the aligned buffer: how much of a request is done at a time. */
const BUFFER_BYTES = 1024 * 1024;

/** See the module's comment. */
export class UnalignedIo {
  readonly #calls: FileCalls;
  readonly #memoryMask: number;
  readonly #offsetBytes: number;
  readonly #mutex: SharedMutex;
  #mapping: Mapping | undefined;
  #view: Uint8Array | undefined;

  /** @param calls - of a file open for direct I/O, with the given alignments (powers of two). */
  constructor(calls: FileCalls, memoryBytes: number, offsetBytes: number, mutex: SharedMutex) {
    this.#calls = calls;
    this.#memoryMask = memoryBytes - 1;
    this.#offsetBytes = offsetBytes;
    this.#mutex = mutex;
  }

  /** Whether the transfer in a slot can go to the file as it is. Allocates nothing. */
  isAligned(requests: DiskRequests, slot: number): boolean {
    const offsetMask = this.#offsetBytes - 1;
    if ((requests.offsetLow[slot] & offsetMask) !== 0) return false;
    const words = requests.iovecs.words;
    let at = requests.iovecs.firstWord(slot);
    for (let left = requests.iovecs.remaining(slot); left > 0; left--) {
      if ((words[at] & this.#memoryMask) !== 0 || (words[at + 2] & offsetMask) !== 0) return false;
      at += 4;
    }
    return true;
  }

  /** Read into the slot's memory. Returns 0 or a negative errno. */
  read(requests: DiskRequests, slot: number): number {
    return this.#inPieces(requests, slot, (start, bytes, skip, used) => {
      const found = this.#readBlocks(start, bytes);
      if (found < 0) return found;
      if (found < skip + used && !restIsZeros(start + found, start + skip + used)) return IO_ERROR;
      requests.iovecs.scatter(slot, this.#address + skip, used);
      return 0;
    });
  }

  /** Write from the slot's memory. Returns 0 or a negative errno. */
  write(requests: DiskRequests, slot: number): number {
    return this.#inPieces(requests, slot, (start, bytes, skip, used) => {
      if (used === bytes) return this.#writePiece(requests, slot, start, bytes, skip, used);
      return this.#mutex.run(() => {
        const result = this.#readBlocks(start, bytes);
        if (result < 0) return result;
        return this.#writePiece(requests, slot, start, bytes, skip, used);
      });
    });
  }

  /**
   * Zero the start of a range, up to where the rest is whole blocks, or all of what is less than a
   * block. Returns how many bytes that was (0: the range starts with a whole block), or a negative
   * errno.
   */
  zeroEdge(offset: number, lengthBytes: number): number {
    const block = this.#offsetBytes;
    const skip = offset % block;
    if (skip === 0 && lengthBytes >= block) return 0;
    const used = Math.min(lengthBytes, block - skip);
    return this.#mutex.run(() => {
      const found = this.#readBlocks(offset - skip, block);
      if (found < 0) return found;
      this.#bytes.fill(0, skip, skip + used);
      const result = this.#writeBlocks(offset - skip, block);
      return result < 0 ? result : used;
    });
  }

  /**
   * Zero what lies in blocks that a range covers only in part. Left to the file system, that could
   * come between the reading and the writing back of such a block for another request, and be undone.
   *
   * @returns 0 or a negative errno.
   */
  zeroEdges(offset: number, lengthBytes: number): number {
    const head = this.zeroEdge(offset, lengthBytes);
    if (head < 0 || head === lengthBytes) return Math.min(head, 0);
    const end = offset + lengthBytes;
    const tail = end % this.#offsetBytes;
    return tail === 0 ? 0 : Math.min(this.zeroEdge(end - tail, tail), 0);
  }

  /** Whether a range covers some block only in part. */
  hasEdges(offset: number, lengthBytes: number): boolean {
    return offset % this.#offsetBytes !== 0 || lengthBytes % this.#offsetBytes !== 0;
  }

  /** What is left of a slot's range without its edges: whole blocks, perhaps none. */
  trimEdges(requests: DiskRequests, slot: number): void {
    const block = this.#offsetBytes;
    const start = requests.offsetBytes(slot);
    const end = start + requests.lengthBytes[slot];
    const first = Math.ceil(start / block) * block;
    requests.offsetLow[slot] = first | 0;
    requests.offsetHigh[slot] = (first / 2 ** 32) | 0;
    requests.lengthBytes[slot] = Math.max(0, end - (end % block) - first);
  }

  #writePiece(
    requests: DiskRequests,
    slot: number,
    start: number,
    bytes: number,
    skip: number,
    used: number,
  ): number {
    requests.iovecs.gather(slot, this.#address + skip, used);
    return this.#writeBlocks(start, bytes);
  }

  /**
   * Read whole blocks into the buffer; past the end of file there are zeros. Returns how much there
   * was, or a negative errno.
   */
  #readBlocks(start: number, bytes: number): number {
    const found = this.#calls.readAt(this.#address, bytes, start);
    if (found < 0 || found === bytes) return found;
    // Zeros in place of what is there would be written back.
    if (start + found < this.#calls.sizeBytes()) return IO_ERROR;
    this.#bytes.fill(0, found, bytes);
    return found;
  }

  #writeBlocks(start: number, bytes: number): number {
    const result = this.#calls.writeAt(this.#address, bytes, start);
    if (result < 0) return result;
    return result === bytes ? 0 : IO_ERROR;
  }

  /**
   * Do a slot's transfer in pieces that fit the buffer. `piece` gets the aligned range of the file
   * and which part of it the request is about.
   */
  #inPieces(
    requests: DiskRequests,
    slot: number,
    piece: (start: number, bytes: number, skip: number, used: number) => number,
  ): number {
    const block = this.#offsetBytes;
    let offset = requests.offsetBytes(slot);
    const end = offset + requests.lengthBytes[slot];
    while (offset < end) {
      const start = Math.floor(offset / block) * block;
      const pieceEnd = Math.min(end, start + BUFFER_BYTES);
      const bytes = Math.ceil((pieceEnd - start) / block) * block;
      const result = piece(start, bytes, offset - start, pieceEnd - offset);
      if (result < 0) return result;
      offset = pieceEnd;
    }
    return 0;
  }

  /** The buffer comes into being with the first request that needs it. */
  get #buffer(): Mapping {
    this.#mapping ??= Mapping.anonymous(BUFFER_BYTES);
    return this.#mapping;
  }

  get #address(): number {
    return this.#buffer.address;
  }

  get #bytes(): Uint8Array {
    this.#view ??= new Uint8Array(this.#buffer.view(0, BUFFER_BYTES));
    return this.#view;
  }

  close(): void {
    this.#mapping?.close();
  }
}
