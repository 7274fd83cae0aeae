/**
 * Reads one descriptor chain into a list of segments (virtio 1.3, 2.7.5 and 2.8.5).
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
  /** Head, `next`, an indirect table's entry or a buffer ID lies outside the table. */
  INDEX: 1,
  /** More than `MAX_CHAIN_SEGMENTS` descriptors, or than the ring can have; or a loop. */
  LENGTH: 2,
  /** A readable descriptor after a writable one (2.7.4.2, 2.8.5). */
  ORDER: 3,
  /**
   * An indirect table that is empty, no multiple of 16 bytes, nested, or not last (2.7.5.3.1); in a
   * packed ring, not alone (2.8.7).
   */
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
  /** What the ring it was taken from knows it by: see `DeviceRing`. */
  token = 0;
  /** Of a chain on a packed ring: the driver's number for it, and descriptors of the ring. */
  bufferId = 0;
  ringDescriptors = 0;
  /** Where in its view the last indirect table begins, or why there is none. */
  #tableStart = 0;
  #tableFault: ChainFault = ChainFault.OK;
  /** Holds an indirect table that is not in one piece. */
  #copy: DataView | undefined;

  /**
   * Read the chain of a split ring that starts at `head`. Descriptors of length 0 are passed over.
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
        if (!isLegal) return ChainFault.INDIRECT;
        const table = this.#openTable(low, high, length, memory);
        if (table === undefined) return this.#tableFault;
        view = table;
        base = this.#tableStart;
        size = length / DESCRIPTOR_BYTES;
        isIndirect = true;
        index = 0;
        continue;
      }
      if (length !== 0 && !this.#append(low, high, length, flags)) return this.#appendFault;
      if ((flags & DescriptorFlag.NEXT) === 0) return ChainFault.OK;
      index = next;
    }
    return ChainFault.LENGTH;
  }

  /**
   * Read the chain of a packed ring that starts at `first`, and set `bufferId` and
   * `ringDescriptors`. Whether it is available is known; here its flags are read once more, and
   * followed as they are then.
   *
   * @param ring - the descriptor ring, of `size` descriptors.
   * @param room - how many descriptors a chain can have: what is more belongs to other chains.
   */
  readPacked(
    ring: DataView,
    size: number,
    first: number,
    room: number,
    memory: GuestMemory,
    indirectAllowed: boolean,
  ): ChainFault {
    this.readable = 0;
    this.count = 0;
    const most = Math.min(room, MAX_CHAIN_SEGMENTS);
    let index = first;
    for (let taken = 1; taken <= most; taken++) {
      const at = index * DESCRIPTOR_BYTES;
      const low = ring.getInt32(at, true);
      const high = ring.getInt32(at + 4, true);
      const length = ring.getUint32(at + 8, true);
      const id = ring.getUint16(at + 12, true);
      const flags = ring.getUint16(at + 14, true);
      const isLast = (flags & DescriptorFlag.NEXT) === 0;
      if ((flags & DescriptorFlag.INDIRECT) !== 0) {
        if (!indirectAllowed || !isLast || taken > 1) return ChainFault.INDIRECT;
        const fault = this.#readPackedTable(low, high, length, memory);
        if (fault !== ChainFault.OK) return fault;
      } else if (length !== 0 && !this.#append(low, high, length, flags)) {
        return this.#appendFault;
      }
      if (isLast) {
        this.bufferId = id;
        this.ringDescriptors = taken;
        return id < size ? ChainFault.OK : ChainFault.INDEX;
      }
      index = index + 1 === size ? 0 : index + 1;
    }
    return ChainFault.LENGTH;
  }

  /** Descriptors follow each other here; of their flags only WRITE means anything (2.8.7). */
  #readPackedTable(
    low: number,
    high: number,
    lengthBytes: number,
    memory: GuestMemory,
  ): ChainFault {
    const view = this.#openTable(low, high, lengthBytes, memory);
    if (view === undefined) return this.#tableFault;
    const end = this.#tableStart + lengthBytes;
    for (let at = this.#tableStart; at < end; at += DESCRIPTOR_BYTES) {
      const length = view.getUint32(at + 8, true);
      const flags = view.getUint16(at + 14, true);
      if (length === 0) continue;
      const isAppended = this.#append(
        view.getInt32(at, true),
        view.getInt32(at + 4, true),
        length,
        flags,
      );
      if (!isAppended) return this.#appendFault;
    }
    return ChainFault.OK;
  }

  /** An indirect table, from `#tableStart` on; `undefined`: there is none, see `#tableFault`. */
  #openTable(
    low: number,
    high: number,
    lengthBytes: number,
    memory: GuestMemory,
  ): DataView | undefined {
    this.#tableFault = ChainFault.INDIRECT;
    if (lengthBytes === 0 || lengthBytes % DESCRIPTOR_BYTES !== 0) return undefined;
    this.#tableFault = ChainFault.LENGTH;
    if (lengthBytes > MAX_CHAIN_SEGMENTS * DESCRIPTOR_BYTES) return undefined;
    this.#tableFault = ChainFault.ADDRESS;
    const found = memory.access(low, high, lengthBytes);
    this.#tableStart = found === undefined ? 0 : memory.viewOffset;
    return found ?? this.#copyTable(low, high, lengthBytes, memory);
  }

  /** Why the last `#append` failed. */
  get #appendFault(): ChainFault {
    return this.count === MAX_CHAIN_SEGMENTS ? ChainFault.LENGTH : ChainFault.ORDER;
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

  /** A copy of an indirect table that spans regions, or `undefined` if it is not all there. */
  #copyTable(
    low: number,
    high: number,
    lengthBytes: number,
    memory: GuestMemory,
  ): DataView | undefined {
    this.#copy ??= new DataView(new ArrayBuffer(MAX_CHAIN_SEGMENTS * DESCRIPTOR_BYTES));
    const bytes = new Uint8Array(this.#copy.buffer, 0, lengthBytes);
    return memory.copyFrom(low, high, bytes) ? this.#copy : undefined;
  }
}
