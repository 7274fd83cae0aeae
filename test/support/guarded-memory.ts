/**
 * Guest memory that lets nobody read a byte that was not asked for: each access gets a copy of
 * exactly its bytes. Reading beyond throws; what lies before is noise, so that an offset that is
 * forgotten shows.
 */
import { GuestMemory } from '../../src/memory/index.ts';

const NOISE_BYTES = 48;
const NOISE = 0xa5;

/** See the module's comment. For reading only: what is written to a copy is lost. */
export class GuardedMemory extends GuestMemory {
  /** Bytes asked for in all. */
  accessedBytes = 0;

  override access(low: number, high: number, lengthBytes: number): DataView | undefined {
    const view = super.access(low, high, lengthBytes);
    if (view === undefined) return undefined;
    this.accessedBytes += lengthBytes;
    const copy = new Uint8Array(NOISE_BYTES + lengthBytes).fill(NOISE);
    const asked = new Uint8Array(view.buffer, view.byteOffset + this.viewOffset, lengthBytes);
    copy.set(asked, NOISE_BYTES);
    this.viewOffset = NOISE_BYTES;
    return new DataView(copy.buffer);
  }
}
