/**
 * What requests have beside their data, by slot, in memory that is shared with the back-end:
 * header, range, and the status that it writes (virtio 1.3, 5.2.6). Nothing here allocates.
 */
import { DiskFlag, DiskOperation, type DiskRequests } from '../../../storage/index.ts';
import { Errno, IO_ERROR } from '../../../sys/index.ts';
import { RANGE_UNMAP, RequestType, SECTOR_BYTES, Status } from '../../../virtio-blk/index.ts';
import { type QueueMemory, SLOT_BYTES, SlotOffset } from './queue-memory.ts';

const SECTOR_SHIFT = Math.log2(SECTOR_BYTES);

/** Request types by `DiskOperation`. */
const TYPES: readonly number[] = [
  RequestType.IN,
  RequestType.OUT,
  RequestType.FLUSH,
  RequestType.DISCARD,
  RequestType.WRITE_ZEROES,
];

/** See the module's comment. */
export class SlotAreas {
  /**
   * By slot: the area's address, in halves, as a whole one has too many bits for a number that is
   * not boxed. Areas are aligned: adding a `SlotOffset` to the lower half does not carry.
   */
  readonly addressLow: Int32Array;
  readonly addressHigh: Int32Array;
  readonly #view: DataView;
  readonly #requests: DiskRequests;

  constructor(memory: QueueMemory, requests: DiskRequests) {
    const { slots: count } = requests;
    const addresses = Array.from(
      { length: count },
      (_, slot) => memory.slotsAddress + slot * SLOT_BYTES,
    );
    this.addressLow = Int32Array.from(addresses, (address) => address | 0);
    this.addressHigh = Int32Array.from(addresses, (address) => (address / 2 ** 32) | 0);
    this.#view = memory.slots;
    this.#requests = requests;
  }

  /** Write the header of a slot's request, or of the flush that follows it. */
  writeHeader(slot: number, operation: number): void {
    const view = this.#view;
    const at = slot * SLOT_BYTES + SlotOffset.HEADER;
    view.setUint32(at, TYPES[operation], true);
    view.setUint32(at + 4, 0, true);
    view.setUint32(at + 8, 0, true);
    view.setUint32(at + 12, 0, true);
    if (operation <= DiskOperation.WRITE) this.#writeSector(at + 8, slot);
    // In force unless the back-end writes another.
    view.setUint8(slot * SLOT_BYTES + SlotOffset.STATUS, Status.IOERR);
  }

  /** Write the range of a slot's DISCARD or WRITE_ZEROES. */
  writeRange(slot: number): void {
    const requests = this.#requests;
    const view = this.#view;
    const at = slot * SLOT_BYTES + SlotOffset.RANGE;
    this.#writeSector(at, slot);
    view.setUint32(at + 8, requests.lengthBytes[slot] / SECTOR_BYTES, true);
    const mayUnmap =
      requests.operation[slot] === DiskOperation.WRITE_ZEROES &&
      (requests.flags[slot] & DiskFlag.UNMAP) !== 0;
    view.setUint32(at + 12, mayUnmap ? RANGE_UNMAP : 0, true);
  }

  /** Where a slot's request starts, in sectors. */
  #writeSector(at: number, slot: number): void {
    const low = this.#requests.offsetLow[slot];
    const high = this.#requests.offsetHigh[slot];
    this.#view.setInt32(at, (low >>> SECTOR_SHIFT) | (high << (32 - SECTOR_SHIFT)), true);
    this.#view.setInt32(at + 4, high >>> SECTOR_SHIFT, true);
  }

  /** What the back-end says of a slot's request: 0 or a negative errno. */
  result(slot: number): number {
    const status = this.#view.getUint8(slot * SLOT_BYTES + SlotOffset.STATUS);
    if (status === Status.OK) return 0;
    return status === Status.UNSUPP ? -Errno.EOPNOTSUPP : IO_ERROR;
  }
}
