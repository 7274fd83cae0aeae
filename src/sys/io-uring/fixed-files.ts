/**
 * Files registered with a ring: a request on one skips the descriptor lookup and its reference
 * counting. A sparse table of fixed size; when it is full or refused, plain descriptors do.
 */
import { SystemError } from '../errors.ts';
import { Mapping } from '../mapping.ts';
import { Register } from './constants.ts';
import type { IoUring } from './io-uring.ts';

/** Disks one reactor may serve by registered file; the kernel's own limit is far higher. */
const TABLE_SIZE = 256;

/** See the module's comment. */
export class FixedFiles {
  readonly #ring: IoUring;
  readonly #free: number[] = [];
  #isRegistered = false;

  constructor(ring: IoUring) {
    this.#ring = ring;
  }

  /** Register a descriptor. Returns its index, or -1 if it must be used plainly. */
  add(fd: number): number {
    if (!this.#isRegistered) this.#registerTable();
    const index = this.#free.pop();
    if (index === undefined) return -1;
    this.#update(index, fd);
    return index;
  }

  /** Forget a registered descriptor; -1 is ignored. */
  remove(index: number): void {
    if (index < 0) return;
    this.#update(index, -1);
    this.#free.push(index);
  }

  #registerTable(): void {
    this.#isRegistered = true;
    using block = Mapping.anonymous(TABLE_SIZE * 4);
    new Int32Array(block.view(0, TABLE_SIZE * 4)).fill(-1);
    try {
      this.#ring.register(Register.FILES, block.address, TABLE_SIZE);
    } catch (error) {
      // RLIMIT_NOFILE or RLIMIT_MEMLOCK may forbid it; it only makes things faster.
      if (error instanceof SystemError) return;
      throw error;
    }
    for (let index = TABLE_SIZE - 1; index >= 0; index--) this.#free.push(index);
  }

  /** struct io_uring_files_update { u32 offset; u32 resv; u64 fds }, followed by the one fd. */
  #update(index: number, fd: number): void {
    using block = Mapping.anonymous(4096);
    const words = new DataView(block.view(0, 32));
    words.setUint32(0, index, true);
    words.setBigUint64(8, BigInt(block.address + 16), true);
    words.setInt32(16, fd, true);
    this.#ring.register(Register.FILES_UPDATE, block.address, 1);
  }
}
