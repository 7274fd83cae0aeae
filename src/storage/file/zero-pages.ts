/**
 * Zeros to write, for files that cannot be zeroed in place. A mapping that is only ever read: all
 * of it is the kernel's one page of zeros.
 */
import { type IovecTable, Mapping } from '../../sys/index.ts';

/** Bytes of one piece, and how many pieces a step writes: 4 MiB at a time. */
const PIECE_BYTES = 65536;
const MAX_PIECES = 64;

/** See the module's comment. One for each reactor. */
export class ZeroPages {
  readonly #mapping = Mapping.anonymous(PIECE_BYTES);

  /** Fill a slot's list with at most `lengthBytes` of zeros. */
  fillSlot(iovecs: IovecTable, slot: number, lengthBytes: number): void {
    const { address } = this.#mapping;
    iovecs.clear(slot);
    let left = lengthBytes;
    for (let pieces = 0; pieces < MAX_PIECES && left > 0; pieces++) {
      const bytes = Math.min(left, PIECE_BYTES);
      iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, bytes);
      left -= bytes;
    }
  }

  close(): void {
    this.#mapping.close();
  }
}
