/**
 * Turns a descriptor chain into a request (virtio 1.3, 5.2.6): finds header, data and status byte
 * however they are spread over descriptors (2.7.4: framing is independent of layout), checks all
 * the driver says, and fills a slot with what the disk shall do.
 *
 * Where implementations differ in the status of a wrong request, docs/internals/virtio-blk.md says
 * which was chosen and why.
 */
import type { DirtyLog, GuestMemory } from '../memory/index.ts';
import { DiskFlag, DiskOperation } from '../storage/index.ts';
import type { DescriptorChain } from '../virtqueue/index.ts';
import type { BlockRequests } from './block-requests.ts';
import {
  BlockFeature,
  HEADER_BYTES,
  ID_BYTES,
  Limit,
  RANGE_BYTES,
  RANGE_UNMAP,
  RequestType,
  SECTOR_BYTES,
  Status,
} from './constants.ts';
import type { DeviceState } from './device-state.ts';
import { hasFeature } from './features.ts';

/** `parse`'s verdict when the disk has something to do; else it is a `Status` to answer with. */
export const START_DISK = -1;
/** `parse`'s verdict when there is no byte to put a status into. */
export const UNANSWERABLE = -2;

/** Stands for the type of a request whose header is not all there. */
const NO_HEADER = -1;

/** What the parser checks requests against. */
export interface RequestRules {
  readonly features: bigint;
  readonly readOnly: boolean;
  readonly logicalBlockBytes: number;
  /** Device ID string, at most 20 bytes used. */
  readonly serial: string;
}

/** See the module's comment. One for each queue. */
export class RequestParser {
  /** Bytes written to the driver's buffers by a request that is answered at once. */
  writtenBytes = 0;
  /** Where to log what is written to guest memory here: the device ID string. */
  log: DirtyLog | undefined;
  readonly #requests: BlockRequests;
  readonly #chain: DescriptorChain;
  readonly #state: DeviceState;
  readonly #readOnly: boolean;
  readonly #blockSectors: number;
  readonly #canDiscard: boolean;
  readonly #canWriteZeroes: boolean;
  readonly #serial: Uint8Array;
  readonly #headerView: DataView;
  readonly #headerBytes: Uint8Array;
  readonly #rangeBytes: Uint8Array;
  readonly #rangeView: DataView;
  #memory: GuestMemory;
  /** First segment of the chain that is not header. */
  #firstData = 0;
  #sectorLow = 0;
  #sectorHigh = 0;

  constructor(
    requests: BlockRequests,
    chain: DescriptorChain,
    memory: GuestMemory,
    rules: RequestRules,
    state: DeviceState,
  ) {
    this.#requests = requests;
    this.#chain = chain;
    this.#memory = memory;
    this.#readOnly = rules.readOnly;
    this.#blockSectors = rules.logicalBlockBytes / SECTOR_BYTES;
    this.#canDiscard = hasFeature(rules.features, BlockFeature.DISCARD);
    this.#canWriteZeroes = hasFeature(rules.features, BlockFeature.WRITE_ZEROES);
    this.#serial = new Uint8Array(ID_BYTES);
    new TextEncoder().encodeInto(rules.serial, this.#serial);
    this.#headerBytes = new Uint8Array(HEADER_BYTES);
    this.#headerView = new DataView(this.#headerBytes.buffer);
    this.#rangeBytes = new Uint8Array(RANGE_BYTES * Limit.RANGES);
    this.#rangeView = new DataView(this.#rangeBytes.buffer);
    this.#state = state;
  }

  /** The guest's memory has changed. */
  set memory(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Parse the chain last read into `slot`. Returns a verdict, see above. */
  parse(slot: number): number {
    this.writtenBytes = 0;
    if (!this.#takeStatusByte(slot)) return UNANSWERABLE;
    const requests = this.#requests;
    requests.rangeCount[slot] = 0;
    const type = this.#takeHeader();
    // A number that is no known type must not become one by being stored in a byte.
    requests.type[slot] = type === NO_HEADER || type > 0xff ? 0xff : type;
    switch (type) {
      case RequestType.IN:
        return this.#parseTransfer(slot, DiskOperation.READ);
      case RequestType.OUT:
        return this.#readOnly ? Status.IOERR : this.#parseTransfer(slot, DiskOperation.WRITE);
      case RequestType.FLUSH:
        requests.disk.operation[slot] = DiskOperation.FLUSH;
        requests.disk.lengthBytes[slot] = 0;
        return START_DISK;
      case RequestType.GET_ID:
        return this.#answerId();
      case RequestType.DISCARD:
        return this.#canDiscard ? this.#parseRanges(slot, 0) : Status.UNSUPP;
      case RequestType.WRITE_ZEROES:
        return this.#canWriteZeroes ? this.#parseRanges(slot, RANGE_UNMAP) : Status.UNSUPP;
      case NO_HEADER:
        return Status.IOERR;
      default:
        return Status.UNSUPP;
    }
  }

  /** Cut the last writable byte off the chain: the status goes there, if it can be written. */
  #takeStatusByte(slot: number): boolean {
    const chain = this.#chain;
    const last = chain.count - 1;
    if (last < chain.readable) return false;
    const length = chain.length[last] - 1;
    const low = (chain.addressLow[last] >>> 0) + length;
    const high = chain.addressHigh[last] + (low >= 2 ** 32 ? 1 : 0);
    this.#requests.statusLow[slot] = low | 0;
    this.#requests.statusHigh[slot] = high;
    chain.length[last] = length;
    if (length === 0) chain.count = last;
    return this.#memory.access(low | 0, high, 1) !== undefined;
  }

  /** Cut the header off the chain and read it. Returns the type, or `NO_HEADER`. */
  #takeHeader(): number {
    const chain = this.#chain;
    const first = chain.readable > 0 ? chain.length[0] : 0;
    if (first < HEADER_BYTES) return this.#gatherHeader();
    const memory = this.#memory;
    const view = memory.access(chain.addressLow[0], chain.addressHigh[0], HEADER_BYTES);
    if (view === undefined) return this.#gatherHeader();
    const at = memory.viewOffset;
    const type = view.getUint32(at, true);
    this.#sectorLow = view.getInt32(at + 8, true);
    this.#sectorHigh = view.getInt32(at + 12, true);
    this.#firstData = first === HEADER_BYTES ? 1 : 0;
    if (first !== HEADER_BYTES) this.#skip(0, HEADER_BYTES);
    return type;
  }

  /** The header when it is in several pieces. */
  #gatherHeader(): number {
    const header = this.#headerBytes;
    const next = this.#gather(0, this.#chain.readable, header);
    if (next < 0) return NO_HEADER;
    this.#firstData = next;
    this.#sectorLow = this.#headerView.getInt32(8, true);
    this.#sectorHigh = this.#headerView.getInt32(12, true);
    return this.#headerView.getUint32(0, true);
  }

  /**
   * Copy the first bytes of segments `from` to `to` - 1 and cut them off. Returns the segment that
   * comes next, or -1 if there are too few bytes or an address is wrong.
   */
  #gather(from: number, to: number, target: Uint8Array): number {
    const chain = this.#chain;
    let index = from;
    let done = 0;
    while (done < target.length) {
      if (index >= to) return -1;
      const bytes = Math.min(chain.length[index], target.length - done);
      const part = target.subarray(done, done + bytes);
      if (!this.#memory.copyFrom(chain.addressLow[index], chain.addressHigh[index], part))
        return -1;
      done += bytes;
      if (bytes === chain.length[index]) index += 1;
      else this.#skip(index, bytes);
    }
    return index;
  }

  /** Cut bytes off the front of a segment. */
  #skip(index: number, bytes: number): void {
    const chain = this.#chain;
    const low = (chain.addressLow[index] >>> 0) + bytes;
    chain.addressLow[index] = low | 0;
    if (low >= 2 ** 32) chain.addressHigh[index] += 1;
    chain.length[index] -= bytes;
  }

  #parseTransfer(slot: number, operation: number): number {
    const chain = this.#chain;
    const isRead = operation === DiskOperation.READ;
    const from = isRead ? chain.readable : this.#firstData;
    const to = isRead ? chain.count : chain.readable;
    const bytes = this.#mapData(slot, from, to);
    if (bytes < 0 || bytes % SECTOR_BYTES !== 0) return Status.IOERR;
    const sector = (this.#sectorHigh >>> 0) * 2 ** 32 + (this.#sectorLow >>> 0);
    if (sector + bytes / SECTOR_BYTES > this.#state.capacitySectors) return Status.IOERR;
    if (bytes === 0) return Status.OK;
    const disk = this.#requests.disk;
    disk.operation[slot] = operation;
    disk.offsetLow[slot] = this.#sectorLow << 9;
    disk.offsetHigh[slot] = (this.#sectorHigh << 9) | (this.#sectorLow >>> 23);
    disk.lengthBytes[slot] = bytes;
    return START_DISK;
  }

  /**
   * Make the slot's list of host addresses from segments `from` to `to` - 1. Returns their bytes,
   * or -1 if an address is wrong or there are too many pieces or bytes.
   */
  #mapData(slot: number, from: number, to: number): number {
    const chain = this.#chain;
    const memory = this.#memory;
    const iovecs = this.#requests.disk.iovecs;
    iovecs.clear(slot);
    let bytes = 0;
    for (let index = from; index < to; index++) {
      const low = chain.addressLow[index];
      const high = chain.addressHigh[index];
      const length = chain.length[index];
      const found = memory.locate(low, high, length);
      if (found === 0) return -1;
      if (!iovecs.push(slot, memory.hostLow, memory.hostHigh, found)) return -1;
      if (found !== length && !this.#mapRest(slot, index, found)) return -1;
      bytes += length;
    }
    return bytes > Limit.DATA_BYTES ? -1 : bytes;
  }

  /** The rest of a segment that does not lie in one region: `doneBytes` of it have been mapped. */
  #mapRest(slot: number, index: number, doneBytes: number): boolean {
    const chain = this.#chain;
    const memory = this.#memory;
    this.#skip(index, doneBytes);
    while (chain.length[index] > 0) {
      const length = chain.length[index];
      const found = memory.locate(chain.addressLow[index], chain.addressHigh[index], length);
      if (found === 0) return false;
      const { iovecs } = this.#requests.disk;
      if (!iovecs.push(slot, memory.hostLow, memory.hostHigh, found)) return false;
      this.#skip(index, found);
    }
    return true;
  }

  /** GET_ID: as much of the 20 bytes as the driver has room for. */
  #answerId(): number {
    const chain = this.#chain;
    const serial = this.#serial;
    let done = 0;
    for (let index = chain.readable; index < chain.count && done < ID_BYTES; index++) {
      const bytes = Math.min(chain.length[index], ID_BYTES - done);
      const part = serial.subarray(done, done + bytes);
      const low = chain.addressLow[index];
      const high = chain.addressHigh[index];
      const isWritten = this.#memory.copyTo(low, high, part);
      // Also when the address leaves memory: there may have been a part that did not.
      if (this.log !== undefined) this.log.mark(low, high, bytes);
      if (!isWritten) return Status.IOERR;
      done += bytes;
    }
    this.writtenBytes = done;
    return Status.OK;
  }

  /** DISCARD and WRITE_ZEROES: all ranges are checked before the first is worked on. */
  #parseRanges(slot: number, allowedFlags: number): number {
    if (this.#readOnly) return Status.IOERR;
    const chain = this.#chain;
    let bytes = 0;
    for (let index = this.#firstData; index < chain.readable; index++) bytes += chain.length[index];
    const count = bytes / RANGE_BYTES;
    if (count === 0 || !Number.isInteger(count) || count > Limit.RANGES) return Status.IOERR;
    const payload = this.#rangeBytes.subarray(0, bytes);
    if (this.#gather(this.#firstData, chain.readable, payload) < 0) return Status.IOERR;
    for (let index = 0; index < count; index++) {
      const status = this.#parseRange(slot, index, allowedFlags);
      if (status !== Status.OK) return status;
    }
    this.#requests.rangeCount[slot] = count;
    this.#requests.rangeIndex[slot] = 0;
    return START_DISK;
  }

  #parseRange(slot: number, index: number, allowedFlags: number): number {
    const view = this.#rangeView;
    const at = index * RANGE_BYTES;
    const sector = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
    const sectors = view.getUint32(at + 8, true);
    const flags = view.getUint32(at + 12, true);
    if ((flags & ~allowedFlags) !== 0) return Status.UNSUPP;
    if (sectors > Limit.RANGE_SECTORS) return Status.IOERR;
    if (sector + sectors > this.#state.capacitySectors) return Status.IOERR;
    if (sector % this.#blockSectors !== 0 || sectors % this.#blockSectors !== 0) {
      return Status.IOERR;
    }
    const requests = this.#requests;
    const place = slot * Limit.RANGES + index;
    requests.rangeSector[place] = sector;
    requests.rangeSectors[place] = sectors;
    requests.rangeFlags[place] = (flags & RANGE_UNMAP) !== 0 ? DiskFlag.UNMAP : 0;
    return Status.OK;
  }
}
