/**
 * Block requests of a case: bytes in the slots of guest memory, and the chains that lead to them.
 *
 *     request queue=0 type=1 sector=0x4000 data=4096
 *     request type=0 sector=0x4000 room=65536 pieces=5 indirect
 *     request type=11 ranges=0x4000:8:0,0x4010:8:0
 */
import { DescriptorFlag } from '../src/virtqueue/index.ts';
import { type Action, CaseError } from './action.ts';
import { REGIONS, SLOT, SLOT_BYTES, SLOTS_AT } from './geometry.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { GuestDescriptor } from './guest-ring.ts';
import { numberOf, parseNumber } from './numbers.ts';

const HEADER_BYTES = 16;
const RANGE_BYTES = 16;
const TABLE_ENTRIES = 64;
const MAX_PIECES = 1024;
/** What the header's reserved word holds: as the low half of a sector it would make it enormous. */
const RESERVED = 0xffff_ffff;
const STATUS_BEFORE = 0xee;

/** A piece of a request, before its descriptors. */
interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
}

/** Places a case's requests one behind the other, round and round. */
export class GuestRequests {
  readonly #memory: GuestMemory;
  #next = SLOTS_AT;
  /** Where the last header is: region and offset. */
  lastHeader: { readonly region: number; readonly offset: number } = {
    region: 0,
    offset: SLOTS_AT + SLOT.header,
  };

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Slots for a request: as many pages as its data reaches over. */
  #take(dataBytes: number): number {
    const bytes = Math.ceil((SLOT.data + dataBytes) / SLOT_BYTES) * SLOT_BYTES;
    const { sizeBytes } = REGIONS[0];
    // What is larger than memory leads out of it, which is a case, too.
    if (this.#next + bytes > sizeBytes) this.#next = SLOTS_AT;
    const slot = this.#next;
    this.#next = bytes > sizeBytes - SLOTS_AT ? SLOTS_AT : slot + bytes;
    return slot;
  }

  /** Write a request to memory. Returns its chain. */
  make(request: Action): readonly GuestDescriptor[] {
    const ranges = (request.values.get('ranges') ?? '').split(',').filter(Boolean);
    const data = numberOf(request, 'data', ranges.length * RANGE_BYTES);
    const room = numberOf(request, 'room', 0);
    const region = numberOf(request, 'region', 0);
    if (REGIONS[region] === undefined) throw new CaseError(`there is no region ${region}`);
    const slot = this.#slot(request, region, data + room);
    const at = (offset: number): number => slot + offset;
    const memory = this.#memory;
    this.lastHeader = { region, offset: at(SLOT.header) };
    memory.setU32(region, at(SLOT.header), numberOf(request, 'type', 0));
    memory.setU32(region, at(SLOT.header) + 4, RESERVED);
    memory.setU64(region, at(SLOT.header) + 8, parseNumber(request.values.get('sector') ?? '0'));
    memory.setU8(region, at(SLOT.status), STATUS_BEFORE);
    ranges.forEach((range, index) => {
      this.#writeRange(region, at(SLOT.data) + index * RANGE_BYTES, range);
    });
    const pieces = numberOf(request, 'pieces', 1);
    const all: readonly Piece[] = [
      { offset: at(SLOT.header), length: HEADER_BYTES, flags: 0 },
      ...split(at(SLOT.data), data, pieces, 0),
      ...split(at(SLOT.data) + data, room, pieces, DescriptorFlag.WRITE),
      { offset: at(SLOT.status), length: 1, flags: DescriptorFlag.WRITE },
    ];
    const start = BigInt(REGIONS[region].guestAddress);
    const chain = all.map(({ offset, length, flags }) => {
      return { address: start + BigInt(offset), length, flags };
    });
    return request.words.includes('indirect') ? this.#indirect(region, slot, chain) : chain;
  }

  /** Where a request goes. `edge`: so that its data lies across the end of the first region. */
  #slot(request: Action, region: number, dataBytes: number): number {
    if (region !== 0) return 0;
    if (!request.words.includes('edge')) return this.#take(dataBytes);
    return REGIONS[0].sizeBytes - SLOT_BYTES;
  }

  #writeRange(region: number, offset: number, text: string): void {
    const [sector = '0', sectors = '0', flags = '0'] = text.split(':');
    this.#memory.setU64(region, offset, parseNumber(sector));
    this.#memory.setNumber(region, offset + 8, 4, parseNumber(sectors));
    this.#memory.setNumber(region, offset + 12, 4, parseNumber(flags));
  }

  #indirect(
    region: number,
    slot: number,
    chain: readonly GuestDescriptor[],
  ): readonly GuestDescriptor[] {
    const table = slot + SLOT.table;
    const entries = chain.slice(0, TABLE_ENTRIES);
    entries.forEach(({ address, length, flags }, index) => {
      const isLast = index === entries.length - 1;
      const at = table + index * 16;
      this.#memory.setU64(region, at, address);
      this.#memory.setU32(region, at + 8, length);
      this.#memory.setU16(region, at + 12, flags | (isLast ? 0 : DescriptorFlag.NEXT));
      this.#memory.setU16(region, at + 14, isLast ? 0 : index + 1);
    });
    const address = BigInt(REGIONS[region].guestAddress + table);
    return [{ address, length: entries.length * 16, flags: DescriptorFlag.INDIRECT }];
  }
}

/** `length` bytes in so many pieces, the last of which takes what is left. */
function split(offset: number, length: number, pieces: number, flags: number): Piece[] {
  if (length === 0) return [];
  const count = Math.max(1, Math.min(pieces, length, MAX_PIECES));
  const each = Math.floor(length / count);
  return Array.from({ length: count }, (_, index) => ({
    offset: offset + index * each,
    length: index === count - 1 ? length - each * index : each,
    flags,
  }));
}
