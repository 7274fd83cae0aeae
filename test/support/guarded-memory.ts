/**
 * Guest memory that lets nobody read a byte that was not asked for: each access gets a copy of
 * exactly its bytes, so that reading beyond throws.
 */
import { GuestMemory } from '../../src/memory/index.ts';

/** See the module's comment. For reading only: what is written to a copy is lost. */
export class GuardedMemory extends GuestMemory {
  /** Bytes asked for in all. */
  accessedBytes = 0;

  override access(low: number, high: number, lengthBytes: number): DataView | undefined {
    const view = super.access(low, high, lengthBytes);
    if (view === undefined) return undefined;
    this.accessedBytes += lengthBytes;
    const copy = new Uint8Array(lengthBytes);
    copy.set(new Uint8Array(view.buffer, view.byteOffset + this.viewOffset, lengthBytes));
    this.viewOffset = 0;
    return new DataView(copy.buffer);
  }
}
