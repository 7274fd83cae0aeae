/** Requests of the plainest layout, and the verdict of a parser on them. */
import { GuestRam } from '../../src/testing/index.ts';
import type { RequestRules } from '../../src/virtio-blk/index.ts';
import {
  type ChainPiece,
  headerBytes,
  joinBytes,
  type RangeFields,
  rangeBytes,
} from './block-chains.ts';
import { type ParsedRequest, ParserBench } from './parser-bench.ts';

/** Guest memory: its end lies above 4 GiB, its last byte is the status byte. */
export const RAM_START = 0xffff_0000;
export const RAM_BYTES: number = 2 ** 20;
export const STATUS_AT: number = RAM_START + RAM_BYTES - 1;
const ROOM_AT = RAM_BYTES / 2;

/** Descriptors for a header at the start of memory, and for the status byte. */
export const HEADER: ChainPiece = { address: RAM_START, length: 16, isWritable: false };
export const STATUS: ChainPiece = { address: STATUS_AT, length: 1, isWritable: true };

/** See the module's comment. */
export class VerdictBench implements Disposable {
  readonly ram: GuestRam = new GuestRam([{ guestAddress: RAM_START, sizeBytes: RAM_BYTES }]);
  readonly parser: ParserBench;
  /** The room that `parse` gives to requests. */
  readonly room: Uint8Array = this.ram.at(0, ROOM_AT, ROOM_AT - 1).bytes;

  constructor(rules: Partial<RequestRules> = {}) {
    this.parser = new ParserBench(this.ram, rules);
  }

  get capacitySectors(): number {
    return this.parser.state.capacitySectors;
  }

  set capacitySectors(sectors: number) {
    this.parser.state.capacitySectors = sectors;
  }

  /** Parse these readable bytes, room for `room` bytes, and a status byte. */
  parse(readable: Uint8Array, room = 0): ParsedRequest {
    this.ram.at(0, 0, ROOM_AT).bytes.set(readable);
    const pieces: ChainPiece[] = [{ ...HEADER, length: readable.length }];
    if (room > 0) pieces.push({ address: RAM_START + ROOM_AT, length: room, isWritable: true });
    return this.parser.parse([...pieces, STATUS]);
  }

  /** Parse a header of this type, at `HEADER`, in a chain of these pieces. */
  parsePieces(type: number, pieces: readonly ChainPiece[]): ParsedRequest {
    this.ram.at(0, 0, 16).bytes.set(headerBytes(type));
    return this.parser.parse(pieces);
  }

  /** The verdict on a request with `payload` bytes to write or room for `room` bytes. */
  verdict(type: number, sector: number | bigint, payload = 0, room = 0): number {
    return this.parse(joinBytes(headerBytes(type, sector), new Uint8Array(payload)), room).verdict;
  }

  /** The verdict on a request with ranges. */
  rangeVerdict(type: number, ranges: readonly RangeFields[]): number {
    return this.parse(joinBytes(headerBytes(type), rangeBytes(ranges))).verdict;
  }

  [Symbol.dispose](): void {
    this.parser[Symbol.dispose]();
    this.ram[Symbol.dispose]();
  }
}
