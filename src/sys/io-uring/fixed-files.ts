/**
 * Files registered with a ring: a request on one skips the descriptor lookup and its reference
 * counting. A sparse table of fixed size; when it is full or refused, plain descriptors do. Nothing
 * here throws: registration only makes things faster.
 */
import { SystemError } from '../errors.ts';
import { Mapping } from '../mapping.ts';
import { Register } from './constants.ts';
import type { IoUring } from './io-uring.ts';

/** Disks one reactor may serve by registered file; the kernel's own limit is far higher. */
const TABLE_SIZE = 256;

/** See the module's comment. */
export class FixedFiles implements Disposable {
  readonly #ring: IoUring;
  readonly #free: number[] = [];
  /** For the arguments of registrations; none before the first, and where it was refused. */
  #block: Mapping | undefined;
  #wasAsked = false;

  constructor(ring: IoUring) {
    this.#ring = ring;
  }

  /** Register a descriptor. Returns its index, or -1 if it must be used plainly. */
  add(fd: number): number {
    if (!this.#wasAsked) this.#registerTable();
    const index = this.#free.pop();
    if (index === undefined) return -1;
    if (this.#update(index, fd)) return index;
    this.#free.push(index);
    return -1;
  }

  /** Forget a registered descriptor; -1 is ignored. */
  remove(index: number): void {
    // A place that cannot be cleared is not used again.
    if (index >= 0 && this.#update(index, -1)) this.#free.push(index);
  }

  #registerTable(): void {
    this.#wasAsked = true;
    const bytes = TABLE_SIZE * 4;
    const isDone = succeeds(() => {
      this.#block = Mapping.anonymous(bytes);
      new Int32Array(this.#block.view(0, bytes)).fill(-1);
      // RLIMIT_NOFILE or RLIMIT_MEMLOCK may forbid it.
      this.#ring.register(Register.FILES, this.#block.address, TABLE_SIZE);
    });
    if (!isDone) return;
    for (let index = TABLE_SIZE - 1; index >= 0; index--) this.#free.push(index);
  }

  /** struct io_uring_files_update { u32 offset; u32 resv; u64 fds }, followed by the one fd. */
  #update(index: number, fd: number): boolean {
    const block = this.#block;
    if (block === undefined) return false;
    const words = new DataView(block.view(0, 32));
    words.setUint32(0, index, true);
    words.setUint32(4, 0, true);
    words.setBigUint64(8, BigInt(block.address + 16), true);
    words.setInt32(16, fd, true);
    return succeeds(() => this.#ring.register(Register.FILES_UPDATE, block.address, 1));
  }

  [Symbol.dispose](): void {
    this.#block?.close();
  }
}

/** Whether the kernel does it. */
function succeeds(attempt: () => void): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    if (error instanceof SystemError) return false;
    throw error;
  }
}
