/**
 * Sectors encrypted by node:crypto, a cipher object for each: for key slots, and for all data where
 * OpenSSL cannot be reached otherwise (`native-sector-cipher.ts`).
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { bufferAddress, copyMemory } from '../../sys/index.ts';
import { type CipherSpec, IV_UNIT_BYTES, opensslName } from './cipher-spec.ts';
import type { SectorCipher } from './sector-cipher.ts';

const IV_BYTES = 16;

/** See the module's comment. */
export class NodeSectorCipher implements SectorCipher {
  readonly engine = 'node:crypto';
  readonly #spec: CipherSpec;
  readonly #name: string;
  readonly #key: Uint8Array;
  readonly #essivKey: Uint8Array | undefined;
  readonly #sectorBytes: number;
  readonly #scratch: Uint8Array;
  readonly #scratchAddress: number;

  constructor(spec: CipherSpec, key: Uint8Array, sectorBytes: number) {
    this.#spec = spec;
    this.#name = opensslName(spec, key.length);
    this.#key = Uint8Array.from(key);
    this.#essivKey =
      spec.iv === 'essiv:sha256' ? createHash('sha256').update(key).digest() : undefined;
    this.#sectorBytes = sectorBytes;
    this.#scratch = new Uint8Array(new ArrayBuffer(sectorBytes));
    this.#scratchAddress = bufferAddress(this.#scratch);
  }

  encrypt(source: number, target: number, bytes: number, number: number): boolean {
    return this.#eachSector(source, target, bytes, number, true);
  }

  decrypt(source: number, target: number, bytes: number, number: number): boolean {
    return this.#eachSector(source, target, bytes, number, false);
  }

  #eachSector(
    source: number,
    target: number,
    bytes: number,
    number: number,
    encrypts: boolean,
  ): boolean {
    const { length } = this.#scratch;
    for (let at = 0; at < bytes; at += length) {
      copyMemory(this.#scratchAddress, source + at, length);
      this.#sector(this.#scratch, number + at / IV_UNIT_BYTES, encrypts);
      copyMemory(target + at, this.#scratchAddress, length);
    }
    return true;
  }

  /** Whole sectors of a buffer, in place; the first has the number 0. */
  inPlace(buffer: Uint8Array, encrypts: boolean): void {
    for (let at = 0; at < buffer.length; at += this.#sectorBytes) {
      const sector = buffer.subarray(at, at + this.#sectorBytes);
      this.#sector(sector, at / IV_UNIT_BYTES, encrypts);
    }
  }

  #sector(sector: Uint8Array, number: number, encrypts: boolean): void {
    const create = encrypts ? createCipheriv : createDecipheriv;
    const cipher = create(this.#name, this.#key, this.#iv(number));
    sector.set(cipher.setAutoPadding(false).update(sector));
  }

  #iv(number: number): Uint8Array {
    const iv = Buffer.alloc(IV_BYTES);
    iv.writeUInt32LE(number % 2 ** 32, 0);
    if (this.#spec.iv !== 'plain') iv.writeUInt32LE(Math.floor(number / 2 ** 32), 4);
    if (this.#essivKey === undefined) return iv;
    const cipher = createCipheriv('aes-256-ecb', this.#essivKey, null);
    return cipher.setAutoPadding(false).update(iv);
  }

  close(): void {
    this.#key.fill(0);
    this.#essivKey?.fill(0);
    this.#scratch.fill(0);
  }
}
