/**
 * A byte that a device wants to be kept for the back-end after this one: behind the logs in
 * in-flight memory, which the front-end keeps, and whose size is the back-end's to say. Back-ends
 * that know nothing of it leave it alone, and memory made by them has no such place.
 *
 *     | logs | "vhostkit" | byte | is set |
 */
import type { Mapping } from '../sys/index.ts';

const MARK = new TextEncoder().encode('vhostkit');
const BYTE_AT = MARK.length;
const IS_SET_AT = BYTE_AT + 1;
/** Bytes it takes at the end of in-flight memory. */
export const KEPT_BYTES = 16;

/** See the module's comment. */
export class KeptByte {
  readonly #bytes: Uint8Array;

  /** Its place at the end of in-flight memory, or `undefined` if there is none. */
  static find(mapping: Mapping): KeptByte | undefined {
    const { sizeBytes } = mapping;
    if (sizeBytes < KEPT_BYTES) return undefined;
    const bytes = new Uint8Array(mapping.view(sizeBytes - KEPT_BYTES, KEPT_BYTES));
    return MARK.every((byte, index) => bytes[index] === byte) ? new KeptByte(bytes) : undefined;
  }

  /** A new one, in memory that is all zeros. */
  static create(mapping: Mapping): void {
    new Uint8Array(mapping.view(mapping.sizeBytes - KEPT_BYTES, KEPT_BYTES)).set(MARK);
  }

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** `undefined` if nobody has set it. */
  get value(): number | undefined {
    return this.#bytes[IS_SET_AT] === 1 ? this.#bytes[BYTE_AT] : undefined;
  }

  set value(byte: number) {
    this.#bytes[BYTE_AT] = byte;
    this.#bytes[IS_SET_AT] = 1;
  }
}
