/** The data path of the pattern disk: made in a buffer, and copied from there or compared with it. */
import { Errno, IO_ERROR, Mapping } from '../../sys/index.ts';
import type { DiskChannel } from '../disk.ts';
import { DiskOperation, type DiskRequests } from '../disk-requests.ts';
import type { WrongWrites } from './wrong-writes.ts';

/** How much of a request is done at a time: fits the processor's nearest cache. */
const BUFFER_BYTES = 16384;

function swapBytes(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** See the module's comment. */
export class PatternChannel implements DiskChannel {
  readonly #requests: DiskRequests;
  readonly #wrongWrites: WrongWrites;
  readonly #buffer = Mapping.anonymous(BUFFER_BYTES);
  readonly #address: number;
  /** Little-endian, as all that vhostkit runs on. */
  readonly #words: Int32Array;

  constructor(requests: DiskRequests, wrongWrites: WrongWrites) {
    this.#requests = requests;
    this.#wrongWrites = wrongWrites;
    this.#address = this.#buffer.address;
    this.#words = new Int32Array(this.#buffer.view(0, BUFFER_BYTES));
  }

  start(slot: number): number {
    switch (this.#requests.operation[slot]) {
      case DiskOperation.READ:
        return this.#read(slot);
      case DiskOperation.WRITE:
        return this.#write(slot);
      case DiskOperation.FLUSH:
        return 0;
      default:
        return -Errno.EOPNOTSUPP;
    }
  }

  #read(slot: number): number {
    const requests = this.#requests;
    let offset = requests.offsetBytes(slot);
    for (let left = requests.lengthBytes[slot]; left > 0; ) {
      const bytes = Math.min(left, BUFFER_BYTES);
      this.#fill(offset, bytes);
      requests.iovecs.scatter(slot, this.#address, bytes);
      offset += bytes;
      left -= bytes;
    }
    return 0;
  }

  #write(slot: number): number {
    const requests = this.#requests;
    let offset = requests.offsetBytes(slot);
    for (let left = requests.lengthBytes[slot]; left > 0; ) {
      const bytes = Math.min(left, BUFFER_BYTES);
      requests.iovecs.gather(slot, this.#address, bytes);
      if (!this.#isPattern(offset, bytes)) {
        this.#wrongWrites.add(requests.offsetLow[slot], requests.offsetHigh[slot]);
        return IO_ERROR;
      }
      offset += bytes;
      left -= bytes;
    }
    return 0;
  }

  /** Make the content at an offset. Both are multiples of 8. */
  #fill(offset: number, bytes: number): void {
    const words = this.#words;
    let low = offset | 0;
    let high = (offset / 2 ** 32) | 0;
    let swappedHigh = swapBytes(high);
    for (let at = 0; at < bytes >>> 2; at += 2) {
      words[at] = swappedHigh;
      words[at + 1] = swapBytes(low);
      low = (low + 8) | 0;
      if (low === 0) {
        high = (high + 1) | 0;
        swappedHigh = swapBytes(high);
      }
    }
  }

  /** Whether what is in the buffer is the content at an offset. */
  #isPattern(offset: number, bytes: number): boolean {
    const words = this.#words;
    let low = offset | 0;
    let high = (offset / 2 ** 32) | 0;
    let swappedHigh = swapBytes(high);
    for (let at = 0; at < bytes >>> 2; at += 2) {
      if (words[at] !== swappedHigh || words[at + 1] !== swapBytes(low)) return false;
      low = (low + 8) | 0;
      if (low === 0) {
        high = (high + 1) | 0;
        swappedHigh = swapBytes(high);
      }
    }
    return true;
  }

  close(): void {
    this.#buffer.close();
  }
}
