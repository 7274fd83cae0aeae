/**
 * Reads one descriptor chain into a list of segments (virtio 1.3, 2.7.5).
 *
 * The chain is the driver's word: the walk is bounded, every index is checked, every descriptor
 * field is read once. Addresses are *not* checked here but when a segment is used, by
 * `GuestMemory`. One object serves all chains of a queue, one after the other.
 */
import type { GuestMemory } from '../memory/index.ts';
import { DESCRIPTOR_BYTES, DescriptorFlag } from './layout.ts';

/** Most segments of a chain; the largest request of a sane driver has 128 (as in QEMU: 1024). */
export const MAX_CHAIN_SEGMENTS = 1024;

/** What is wrong with a chain; `OK` if nothing. */
export const ChainFault = {
  OK: 0,
  /** Head, `next` or an indirect table's entry lies outside the table. */
  INDEX: 1,
  /** More than `MAX_CHAIN_SEGMENTS` descriptors, or a loop. */
  LENGTH: 2,
  /** A readable descriptor after a writable one (2.7.4.2). */
  ORDER: 3,
  /** An indirect table that is empty, no multiple of 16 bytes, nested, or not last (2.7.5.3.1). */
  INDIRECT: 4,
  /** An indirect table outside of the guest's memory. */
  ADDRESS: 5,
} as const;
export type ChainFault = (typeof ChainFault)[keyof typeof ChainFault];

/** For log lines, by `ChainFault`. */
export const CHAIN_FAULT_TEXT: readonly string[] = [
  'no fault',
  'descriptor index outside the table',
  'descriptor chain is too long or loops',
  'readable descriptor after a writable one',
  'malformed indirect descriptor',
  'indirect table outside guest memory',
];

/** See the module's comment. */
export class DescriptorChain {
  /** Segments: guest address in halves, and length. Readable ones first. */
  readonly addressLow: Int32Array = new Int32Array(MAX_CHAIN_SEGMENTS);
  readonly addressHigh: Int32Array = new Int32Array(MAX_CHAIN_SEGMENTS);
  readonly length: Uint32Array = new Uint32Array(MAX_CHAIN_SEGMENTS);
  /** How many segments the device may read: 0 to `readable` - 1. */
  readable = 0;
  /** How many segments there are in all; those after the readable ones may be written. */
  count = 0;
  /** Holds an indirect table that is not in one piece. */
  #copy: DataView | undefined;

  /**
   * Read the chain that starts at `head`. Descriptors of length 0 are passed over.
   *
   * @param table - the queue's descriptor table, of `tableSize` descriptors.
   * @param indirectAllowed - VIRTIO_F_INDIRECT_DESC was negotiated.
   */
  read(
    table: DataView,
    tableSize: number,
    head: number,
    memory: GuestMemory,
    indirectAllowed: boolean,
  ): ChainFault {
    this.readable = 0;
    this.count = 0;
    let view = table;
    let base = 0;
    let size = tableSize;
    let isIndirect = false;
    let index = head;
    for (let steps = 0; steps <= MAX_CHAIN_SEGMENTS; steps++) {
      if (index >= size) return ChainFault.INDEX;
      const at = base + index * DESCRIPTOR_BYTES;
      const low = view.getInt32(at, true);
      const high = view.getInt32(at + 4, true);
      const length = view.getUint32(at + 8, true);
      const flags = view.getUint16(at + 12, true);
      const next = view.getUint16(at + 14, true);
      if ((flags & DescriptorFlag.INDIRECT) !== 0) {
        const isLegal = indirectAllowed && !isIndirect && (flags & DescriptorFlag.NEXT) === 0;
        if (!isLegal || length === 0 || length % DESCRIPTOR_BYTES !== 0) return ChainFault.INDIRECT;
        if (length > MAX_CHAIN_SEGMENTS * DESCRIPTOR_BYTES) return ChainFault.LENGTH;
        const found = memory.access(low, high, length);
        view = found ?? this.#copyTable(low, high, length, memory);
        if (view.byteLength === 0) return ChainFault.ADDRESS;
        base = found === undefined ? 0 : memory.viewOffset;
        size = length / DESCRIPTOR_BYTES;
        isIndirect = true;
        index = 0;
        continue;
      }
      if (length !== 0 && !this.#append(low, high, length, flags)) {
        return this.count === MAX_CHAIN_SEGMENTS ? ChainFault.LENGTH : ChainFault.ORDER;
      }
      if ((flags & DescriptorFlag.NEXT) === 0) return ChainFault.OK;
      index = next;
    }
    return ChainFault.LENGTH;
  }

  #append(low: number, high: number, length: number, flags: number): boolean {
    const count = this.count;
    if (count === MAX_CHAIN_SEGMENTS) return false;
    if ((flags & DescriptorFlag.WRITE) === 0) {
      if (count !== this.readable) return false;
      this.readable = count + 1;
    }
    this.addressLow[count] = low;
    this.addressHigh[count] = high;
    this.length[count] = length;
    this.count = count + 1;
    return true;
  }

  /** A copy of an indirect table that spans regions, or an empty view if it is not all there. */
  #copyTable(low: number, high: number, lengthBytes: number, memory: GuestMemory): DataView {
    this.#copy ??= new DataView(new ArrayBuffer(MAX_CHAIN_SEGMENTS * DESCRIPTOR_BYTES));
    const bytes = new Uint8Array(this.#copy.buffer, 0, lengthBytes);
    return memory.copyFrom(low, high, bytes) ? this.#copy : new DataView(new ArrayBuffer(0));
  }
}
