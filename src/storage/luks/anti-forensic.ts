/**
 * The anti-forensic splitter (LUKS1 On-Disk Format Specification 1.2.3, 2.4): a key is stored as
 * many stripes, all of which are needed to have it again, so that to destroy a few sectors destroys
 * it.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { hashBytes } from './hashes.ts';

/** One stripe after another; `hash` is node:crypto's name. Returns the key. */
export function mergeStripes(
  material: Uint8Array,
  keyBytes: number,
  stripes: number,
  hash: string,
): Buffer {
  const key = Buffer.alloc(keyBytes);
  for (let stripe = 0; stripe < stripes; stripe++) {
    // The last stripe is not diffused: it is what makes the sum the key.
    if (stripe > 0) diffuse(key, hash);
    const start = stripe * keyBytes;
    for (let at = 0; at < keyBytes; at++) key[at] ^= material[start + at];
  }
  return key;
}

/** The reverse of `mergeStripes`, with random stripes. */
export function splitKey(key: Uint8Array, stripes: number, hash: string): Buffer {
  const keyBytes = key.length;
  const material = randomFillSync(Buffer.alloc(keyBytes * stripes));
  const lastStart = (stripes - 1) * keyBytes;
  material.fill(0, lastStart);
  const sum = mergeStripes(material, keyBytes, stripes, hash);
  for (let at = 0; at < keyBytes; at++) material[lastStart + at] = sum[at] ^ key[at];
  sum.fill(0);
  return material;
}

/** Replace each block of the hash's size by its hash, counted; of the last one the part there is. */
function diffuse(block: Buffer, hash: string): void {
  const counter = Buffer.alloc(4);
  for (let at = 0, index = 0; at < block.length; index++) {
    counter.writeUInt32BE(index);
    const size = hashBytes(hash);
    const piece = block.subarray(at, at + size);
    createHash(hash).update(counter).update(piece).digest().copy(piece);
    at += size;
  }
}
