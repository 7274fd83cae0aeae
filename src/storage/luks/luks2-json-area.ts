/** The JSON area of a new LUKS2 container (LUKS2 On-Disk Format Specification 1.1.4, 3). */

import type { KeyDerivation } from './key-derivation.ts';
import { BINARY_HEADER_BYTES } from './luks2-header.ts';

/** What is in it; sizes and offsets in bytes. */
export interface Luks2AreaFields {
  readonly cipher: string;
  readonly hash: string;
  readonly derivation: KeyDerivation;
  readonly sectorBytes: number;
  readonly keyBytes: number;
  readonly stripes: number;
  readonly slotOffset: number;
  readonly slotAreaBytes: number;
  readonly dataOffset: number;
  /** Of one copy of the header. */
  readonly headerBytes: number;
  readonly digest: Buffer;
  readonly digestSalt: Buffer;
  readonly digestIterations: number;
}

/** One key slot, one segment, one digest. */
export function luks2Json(fields: Luks2AreaFields): string {
  const { cipher, hash, keyBytes, headerBytes, dataOffset } = fields;
  const slot = {
    type: 'luks2',
    key_size: keyBytes,
    af: { type: 'luks1', stripes: fields.stripes, hash },
    area: {
      type: 'raw',
      offset: String(fields.slotOffset),
      size: String(fields.slotAreaBytes),
      encryption: cipher,
      key_size: keyBytes,
    },
    kdf: kdfOf(fields.derivation),
  };
  const segment = {
    type: 'crypt',
    offset: String(dataOffset),
    size: 'dynamic',
    iv_tweak: '0',
    encryption: cipher,
    sector_size: fields.sectorBytes,
  };
  const digest = {
    type: 'pbkdf2',
    keyslots: ['0'],
    segments: ['0'],
    hash,
    iterations: fields.digestIterations,
    salt: fields.digestSalt.toString('base64'),
    digest: fields.digest.toString('base64'),
  };
  return JSON.stringify({
    keyslots: { 0: slot },
    tokens: {},
    segments: { 0: segment },
    digests: { 0: digest },
    config: {
      json_size: String(headerBytes - BINARY_HEADER_BYTES),
      keyslots_size: String(dataOffset - 2 * headerBytes),
    },
  });
}

function kdfOf(derivation: KeyDerivation): object {
  const salt = Buffer.from(derivation.salt).toString('base64');
  if (derivation.type === 'pbkdf2') {
    return { type: 'pbkdf2', salt, hash: derivation.hash, iterations: derivation.iterations };
  }
  const { type, time, memoryKib, parallel } = derivation;
  return { type, salt, time, memory: memoryKib, cpus: parallel };
}
