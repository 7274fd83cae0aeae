/** A disk image in which every sector has contents of its own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SECTOR_BYTES = 512;

/** What the image has in a sector at first: the same each time, different for each sector. */
export function patternedSectors(first: number, count: number): Uint8Array {
  const words = new Uint32Array((count * SECTOR_BYTES) / 4);
  for (let index = 0; index < words.length; index++) {
    const place = first * (SECTOR_BYTES / 4) + index;
    words[index] = Math.imul(place + 1, 0x9e3779b1) ^ (place >>> 3);
  }
  return new Uint8Array(words.buffer);
}

/** See the module's comment. */
export class PatternedImage implements Disposable {
  readonly path: string;
  readonly sectors: number;
  readonly #folder: string;

  constructor(sectors: number) {
    this.#folder = mkdtempSync(join(tmpdir(), 'vhostkit-image-'));
    this.path = join(this.#folder, 'disk.raw');
    this.sectors = sectors;
    writeFileSync(this.path, patternedSectors(0, sectors));
  }

  /** First sector, from `from` on, that is not what it was at first; `undefined` if none. */
  firstChangedSector(from: number): number | undefined {
    const now = readFileSync(this.path);
    if (now.length !== this.sectors * SECTOR_BYTES) return this.sectors;
    const then = patternedSectors(0, this.sectors);
    for (let sector = from; sector < this.sectors; sector++) {
      const at = sector * SECTOR_BYTES;
      const same = now.subarray(at, at + SECTOR_BYTES);
      if (same.compare(then, at, at + SECTOR_BYTES) !== 0) return sector;
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
