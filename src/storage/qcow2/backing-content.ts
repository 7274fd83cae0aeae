/** What the disk below a qcow2 image's own clusters has: the backing disk, and zeros behind its end. */
import type { DiskAccess } from '../access/disk-access.ts';

type Settled = void | Promise<void>;

/** See the module's comment. */
export class BackingContent {
  /** 0: there is none. */
  readonly sizeBytes: number;
  readonly #access: DiskAccess | undefined;

  constructor(access: DiskAccess | undefined) {
    this.#access = access;
    this.sizeBytes = access?.info.sizeBytes ?? 0;
  }

  read(buffer: Uint8Array, offset: number): Settled {
    const there = Math.max(0, Math.min(buffer.length, this.sizeBytes - offset));
    buffer.fill(0, there);
    if (there === 0) return undefined;
    return this.#access?.read(buffer.subarray(0, there), offset);
  }

  close(): void {
    this.#access?.close();
  }
}
