/**
 * The image that is served to cases: before the window it must stay as it is, and all of it where
 * cases can only read.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { SECTOR_BYTES } from '../src/virtio-blk/index.ts';
import { DISK_BYTES, WINDOW_START } from './geometry.ts';

const GUARD_BYTES = WINDOW_START * SECTOR_BYTES;

/** Each sector's contents are its own; no byte could be one of a request that writes. */
function pattern(): Uint8Array {
  const bytes = new Uint8Array(DISK_BYTES);
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = 0x80 | (Math.imul(index + 1, 0x9e3779b1) >>> 25);
  }
  return bytes;
}

let patternBytes: Uint8Array | undefined;

/** See the module's comment. */
export class DiskImage implements Disposable {
  readonly path: string;
  readonly #fd: number;
  readonly #protectedBytes: number;
  readonly #buffer: Uint8Array;
  #checkedNs = 0n;

  /** Make it at a path. */
  constructor(path: string, isReadOnly: boolean) {
    patternBytes ??= pattern();
    this.path = path;
    this.#protectedBytes = isReadOnly ? DISK_BYTES : GUARD_BYTES;
    this.#buffer = new Uint8Array(this.#protectedBytes);
    writeFileSync(path, patternBytes);
    this.#fd = openSync(path, constants.O_RDWR);
  }

  /** What is wrong with the image, if anything. What was wrong is put right. */
  damage(): string | undefined {
    const { size, mtimeNs } = fstatSync(this.#fd, { bigint: true });
    if (Number(size) !== DISK_BYTES) return `the image has ${size} bytes, not ${DISK_BYTES}`;
    // Whoever writes to a file, or takes space away from it, changes this.
    if (mtimeNs === this.#checkedNs) return undefined;
    const expected = (patternBytes ?? this.#buffer).subarray(0, this.#protectedBytes);
    readSync(this.#fd, this.#buffer, 0, this.#protectedBytes, 0);
    if (Buffer.compare(this.#buffer, expected) === 0) {
      this.#checkedNs = mtimeNs;
      return undefined;
    }
    const at = this.#buffer.findIndex((byte, index) => byte !== expected[index]);
    writeSync(this.#fd, expected, 0, expected.length, 0);
    return `sector ${Math.floor(at / SECTOR_BYTES)} has changed, which nothing may write`;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
