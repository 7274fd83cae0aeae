/**
 * The memory that a case shares with the back-end, and writes to: its regions, full of poison but
 * for the rings. A part that a case has cut off its file is left alone: touching it would end us.
 */
import { ftruncateSync } from 'node:fs';
import { createMemfd, type Fd, Mapping } from '../src/sys/index.ts';
import { POISON, REGIONS, SLOTS_AT } from './geometry.ts';

/** A region: its file, and what of it is there. */
class Region {
  readonly fd: Fd;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  sizeBytes: number;
  readonly #mapping: Mapping;

  constructor(index: number) {
    const { sizeBytes } = REGIONS[index];
    this.sizeBytes = sizeBytes;
    this.fd = createMemfd(`fuzz-region-${index}`, sizeBytes);
    this.#mapping = Mapping.ofFile(this.fd.number, 0, sizeBytes);
    const buffer = this.#mapping.view(0, sizeBytes);
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.bytes.fill(POISON, index === 0 ? SLOTS_AT : 0);
  }

  close(): void {
    this.#mapping.close();
    this.fd[Symbol.dispose]();
  }
}

/** See the module's comment. Offsets are in a region; what does not fit is not written. */
export class GuestMemory implements Disposable {
  readonly #regions = REGIONS.map((_, index) => new Region(index));

  /** A region's file, to be sent. */
  fd(index: number): Fd {
    return this.#regions[index].fd;
  }

  #at(index: number, offset: number, bytes: number): Region | undefined {
    const region = this.#regions[index];
    if (region === undefined || offset < 0 || offset + bytes > region.sizeBytes) return undefined;
    return region;
  }

  setU8(index: number, offset: number, value: number): void {
    this.#at(index, offset, 1)?.view.setUint8(offset, value);
  }

  setU16(index: number, offset: number, value: number): void {
    this.#at(index, offset, 2)?.view.setUint16(offset, value, true);
  }

  setU32(index: number, offset: number, value: number): void {
    this.#at(index, offset, 4)?.view.setUint32(offset, value, true);
  }

  setU64(index: number, offset: number, value: bigint): void {
    this.#at(index, offset, 8)?.view.setBigUint64(offset, value, true);
  }

  /** Write a number of 1, 2, 4 or 8 bytes. */
  setNumber(index: number, offset: number, bytes: number, value: bigint): void {
    if (bytes === 8) this.setU64(index, offset, value);
    else if (bytes === 4) this.setU32(index, offset, Number(BigInt.asUintN(32, value)));
    else if (bytes === 2) this.setU16(index, offset, Number(BigInt.asUintN(16, value)));
    else this.setU8(index, offset, Number(BigInt.asUintN(8, value)));
  }

  /** A number of 2 bytes; 0 where there is nothing. */
  getU16(index: number, offset: number): number {
    return this.#at(index, offset, 2)?.view.getUint16(offset, true) ?? 0;
  }

  setBytes(index: number, offset: number, bytes: Uint8Array): void {
    this.#at(index, offset, bytes.length)?.bytes.set(bytes, offset);
  }

  fill(index: number, from: number, to: number, value: number): void {
    this.#at(index, from, to - from)?.bytes.fill(value, from, to);
  }

  /** Make a region's file shorter or longer. */
  resize(index: number, sizeBytes: number): void {
    const region = this.#regions[index];
    if (region === undefined) return;
    // First this, for accesses from then on.
    region.sizeBytes = Math.min(sizeBytes, REGIONS[index].sizeBytes);
    ftruncateSync(region.fd.number, sizeBytes);
  }

  [Symbol.dispose](): void {
    for (const region of this.#regions) region.close();
  }
}
