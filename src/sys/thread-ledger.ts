/**
 * What a thread has open, written down where the thread that has started it sees it. A worker may
 * end before it has closed everything: by an uncaught error, `process.exit`, for want of memory.
 * Descriptors and mapped memory are the process's, and stay; so whoever has started it closes them.
 *
 * SAFETY: they are closed when the thread has gone, so nobody uses a number that has been closed, not
 * even a listener to `exit`. What the thread has given away (`Fd.release`, `Mapping.handle`) is not
 * in the ledger any more. With the thread, the kernel has ended its io_uring's workers, and finished
 * what they were at; what waits is cancelled when the ring goes. What a device has begun cannot be
 * taken back: it keeps the pages and the file, and with the file its lock, until it is done.
 */
import { libc } from './libc.ts';

/** Descriptors that are noted: numbers above are those of nobody's worker. */
const MAX_DESCRIPTORS = 2 ** 16;
const BITMAP_WORDS = MAX_DESCRIPTORS / 32;
const BITMAP_BYTES = BITMAP_WORDS * Int32Array.BYTES_PER_ELEMENT;
/** Ranges of memory, each by its start (0: none) and its bytes. More are not noted. */
const MAX_RANGES = 2 ** 12;
const RANGES_BYTES = MAX_RANGES * 2 * Float64Array.BYTES_PER_ELEMENT;

/** This thread's, if the one that has started it wants to know. */
let kept: ThreadLedger | undefined;

/** A descriptor is this thread's to close from now on. */
export function noteDescriptor(number: number): void {
  kept?.setDescriptor(number, true);
}

/** It is closed, or somebody else's. */
export function strikeDescriptor(number: number): void {
  kept?.setDescriptor(number, false);
}

/** This thread has mapped memory. */
export function noteRange(start: number, sizeBytes: number): void {
  kept?.addRange(start, sizeBytes);
}

/** It is unmapped, or other threads use it, too. */
export function strikeRange(start: number): void {
  kept?.removeRange(start);
}

/** See the module's comment. */
export class ThreadLedger {
  /** For the worker. */
  readonly buffer: SharedArrayBuffer;
  readonly #bitmap: Int32Array;
  readonly #ranges: Float64Array;
  /** Where in the ledger a range is, by its start; and where none is. */
  readonly #places = new Map<number, number>();
  readonly #free: number[] = [];
  #used = 0;

  constructor(buffer = new SharedArrayBuffer(BITMAP_BYTES + RANGES_BYTES)) {
    this.buffer = buffer;
    this.#bitmap = new Int32Array(buffer, 0, BITMAP_WORDS);
    this.#ranges = new Float64Array(buffer, BITMAP_BYTES, MAX_RANGES * 2);
  }

  /** In the worker: write down from now on. */
  static keep(buffer: SharedArrayBuffer): void {
    kept = new ThreadLedger(buffer);
  }

  setDescriptor(number: number, isOpen: boolean): void {
    if (number >= MAX_DESCRIPTORS) return;
    const bit = 1 << (number & 31);
    const word = this.#bitmap[number >> 5];
    this.#bitmap[number >> 5] = isOpen ? word | bit : word & ~bit;
  }

  addRange(start: number, sizeBytes: number): void {
    const place = this.#free.pop() ?? (this.#used < MAX_RANGES ? this.#used++ : undefined);
    if (place === undefined) return;
    this.#places.set(start, place);
    this.#ranges[2 * place + 1] = sizeBytes;
    this.#ranges[2 * place] = start;
  }

  removeRange(start: number): void {
    const place = this.#places.get(start);
    if (place === undefined) return;
    this.#places.delete(start);
    this.#ranges[2 * place] = 0;
    this.#free.push(place);
  }

  /** The thread has gone: close and unmap what it has left. */
  closeAll(): void {
    for (let number = 0; number < MAX_DESCRIPTORS; number++) {
      if ((this.#bitmap[number >> 5] & (1 << (number & 31))) !== 0) libc.close(number);
    }
    for (let place = 0; place < MAX_RANGES; place++) {
      const [start, sizeBytes] = this.#ranges.subarray(2 * place, 2 * place + 2);
      if (start !== 0) libc.munmap(start, sizeBytes);
    }
    this.#bitmap.fill(0);
    this.#ranges.fill(0);
  }
}
