/**
 * What a disk has promised its driver: which values each sector may have after the power has gone
 * at a given moment. A value is the number of the request that wrote it.
 */
import assert from 'node:assert/strict';

const SECTOR_BYTES = 512;
/** Of sectors that have been zeroed, or discarded. */
const ZEROS = 0;
/** Of all sectors at first. */
export const FIRST_VALUE = 1;

/** A request that changes sectors. */
export interface SectorChange {
  readonly kind: 'write' | 'zero' | 'discard';
  /** From 2 on, different for each. */
  readonly value: number;
  readonly sector: number;
  readonly sectors: number;
  /** The driver may count on it as soon as it is answered. */
  readonly isWriteThrough: boolean;
  readonly sentAt: number;
  answeredAt: number;
}

/** A flush. */
export interface SectorFlush {
  readonly sentAt: number;
  answeredAt: number;
}

/** The bytes of sectors with a value. */
export function sectorsOf(value: number, sectors: number): Buffer {
  const bytes = Buffer.alloc(sectors * SECTOR_BYTES);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(value, at);
  return bytes;
}

/** See the module's comment. */
export class PromisedSectors {
  readonly changes: SectorChange[] = [];
  readonly flushes: SectorFlush[] = [];

  /** From when on a change must survive. */
  #stableAt(change: SectorChange): number {
    if (change.kind === 'discard') return Number.POSITIVE_INFINITY;
    if (change.isWriteThrough) return change.answeredAt;
    return this.flushes
      .filter(({ sentAt }) => sentAt >= change.answeredAt)
      .reduce((first, { answeredAt }) => Math.min(first, answeredAt), Number.POSITIVE_INFINITY);
  }

  /**
   * Throws if an image holds what it may not. Returns how many sectors had to have one value.
   *
   * @param before - what the disk held at first; default: `FIRST_VALUE` everywhere.
   */
  check(image: Buffer, moment: number, before?: Buffer): number {
    let promised = 0;
    const sent = this.changes.filter(({ sentAt }) => sentAt <= moment);
    const stable = new Set(sent.filter((change) => this.#stableAt(change) <= moment));
    for (let sector = 0; sector < image.length / SECTOR_BYTES; sector++) {
      const here = sent.filter((it) => it.sector <= sector && sector < it.sector + it.sectors);
      const base = here.findLastIndex((change) => stable.has(change));
      const allowed = here.slice(Math.max(base, 0)).map(valueWritten);
      if (base < 0) allowed.push(before === undefined ? FIRST_VALUE : valueAt(before, sector));
      if (base >= 0 && allowed.length === 1) promised += 1;
      const found = valueAt(image, sector);
      if (allowed.includes(found)) continue;
      const history = JSON.stringify(here.slice(Math.max(base, 0)));
      assert.fail(`moment ${moment}: sector ${sector} holds ${found}, not ${allowed}: ${history}`);
    }
    return promised;
  }
}

function valueWritten({ kind, value }: SectorChange): number {
  return kind === 'write' ? value : ZEROS;
}

/** Throws if a sector is torn: that no disk does. */
function valueAt(image: Buffer, sector: number): number {
  const start = sector * SECTOR_BYTES;
  const value = image.readUInt32LE(start);
  for (let at = start; at < start + SECTOR_BYTES; at += 4) {
    assert.equal(image.readUInt32LE(at), value, `sector ${sector} is torn`);
  }
  return value;
}
