/**
 * What a disk may hold: of each sector the values it may have, most often one. A request that has
 * failed leaves the old or the new one.
 */
import assert from 'node:assert/strict';

export const SECTOR_BYTES = 512;
const ZEROS: Buffer = Buffer.alloc(SECTOR_BYTES);
/** Most bytes that are modelled; of larger disks their start and their end. */
const MAX_BYTES: number = 2 ** 20;

/** What reads give of a range that has been discarded. */
export type DiscardMeaning = 'zeros' | 'zeros-or-kept' | 'anything';

/** What is asked of a disk. */
export type RequestKind = 'read' | 'write' | 'zero' | 'discard' | 'flush';

/** See the module's comment. Places are bytes in the model; `offsetOf` has them on the disk. */
export class DiskModel {
  /** How many bytes are modelled. */
  readonly sizeBytes: number;
  readonly #diskBytes: number;
  readonly #discard: DiscardMeaning;
  /** The values that a sector may have; `undefined`: any. */
  readonly #values: (readonly Buffer[] | undefined)[];

  constructor(diskBytes: number, blockBytes: number, discard: DiscardMeaning) {
    const unit = 2 * blockBytes;
    this.sizeBytes = diskBytes <= MAX_BYTES ? diskBytes : Math.floor(MAX_BYTES / unit) * unit;
    this.#diskBytes = diskBytes;
    this.#discard = discard;
    this.#values = new Array(this.sizeBytes / SECTOR_BYTES).fill(undefined);
  }

  /** Where on the disk a place is. */
  offsetOf(at: number): number {
    return at < this.#half ? at : this.#diskBytes - this.sizeBytes + at;
  }

  /** The bytes that a range at a place may have: it does not reach over a gap. */
  roomAt(at: number): number {
    return (at < this.#half ? this.#half : this.sizeBytes) - at;
  }

  get #half(): number {
    return this.sizeBytes === this.#diskBytes ? this.sizeBytes : this.sizeBytes / 2;
  }

  /** The ranges without a gap in them. */
  get parts(): readonly { readonly at: number; readonly bytes: number }[] {
    const half = this.#half;
    if (half === this.sizeBytes) return [{ at: 0, bytes: half }];
    return [0, half].map((at) => ({ at, bytes: half }));
  }

  /** A request has been done. @param data - of a write. */
  done(kind: RequestKind, at: number, bytes: number, data?: Uint8Array): void {
    this.#each(at, bytes, (sector, from) => {
      const value = newValue(kind, from, data);
      if (value === undefined) return;
      if (kind !== 'discard' || this.#discard === 'zeros') this.#values[sector] = [value];
      else this.#mayBe(sector, value);
    });
  }

  /** A request has failed: each sector of it may have the old or the new value. */
  failed(kind: RequestKind, at: number, bytes: number, data?: Uint8Array): void {
    this.#each(at, bytes, (sector, from) => {
      const value = newValue(kind, from, data);
      if (value !== undefined) this.#mayBe(sector, value);
    });
  }

  #mayBe(sector: number, value: Buffer): void {
    const isAny = this.#discard === 'anything' && value === ZEROS;
    this.#values[sector] = isAny ? undefined : this.#values[sector]?.concat(value);
  }

  /** What a read may give as of now. */
  expected(at: number, bytes: number): ExpectedBytes {
    const first = at / SECTOR_BYTES;
    return new ExpectedBytes(at, this.#values.slice(first, first + bytes / SECTOR_BYTES));
  }

  /** What has been read is what it is from now on. */
  settle(at: number, found: Uint8Array): void {
    this.#each(at, found.length, (sector, from) => {
      if (this.#values[sector] === undefined) return;
      this.#values[sector] = [Buffer.from(found.subarray(from, from + SECTOR_BYTES))];
    });
  }

  #each(at: number, bytes: number, visit: (sector: number, from: number) => void): void {
    for (let from = 0; from < bytes; from += SECTOR_BYTES) visit((at + from) / SECTOR_BYTES, from);
  }
}

function newValue(kind: RequestKind, from: number, data?: Uint8Array): Buffer | undefined {
  if (kind === 'zero' || kind === 'discard') return ZEROS;
  if (kind !== 'write' || data === undefined) return undefined;
  return Buffer.from(data.subarray(from, from + SECTOR_BYTES));
}

/** What a read may give. */
export class ExpectedBytes {
  readonly #at: number;
  readonly #values: readonly (readonly Buffer[] | undefined)[];

  constructor(at: number, values: readonly (readonly Buffer[] | undefined)[]) {
    this.#at = at;
    this.#values = values;
  }

  /** Throws if it is something else. */
  check(found: Uint8Array, about: string): void {
    this.#values.forEach((values, index) => {
      if (values === undefined) return;
      const from = index * SECTOR_BYTES;
      const sector = found.subarray(from, from + SECTOR_BYTES);
      if (values.some((value) => Buffer.compare(value, sector) === 0)) return;
      const at = sector.findIndex((byte, place) => byte !== values[0][place]);
      const text = `byte ${this.#at + from + at} is ${sector[at]}, not ${values.map((value) => value[at]).join(' or ')}`;
      assert.fail(`${about}: ${text}`);
    });
  }
}
