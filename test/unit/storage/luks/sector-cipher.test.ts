/** The encryption of sectors: the standard's vectors, and both ways to do it against each other. */
import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { cipherSpec } from '../../../../src/storage/luks/cipher-spec.ts';
import { NativeSectorCipher } from '../../../../src/storage/luks/native-sector-cipher.ts';
import { NodeSectorCipher } from '../../../../src/storage/luks/node-sector-cipher.ts';
import { openSectorCipher, type SectorCipher } from '../../../../src/storage/luks/sector-cipher.ts';
import { bufferAddress } from '../../../../src/sys/index.ts';
import { propertyOptions } from '../../../support/property-options.ts';

/** IEEE 1619-2018, annex B: key, data unit number, plaintext, ciphertext. */
const VECTORS = [
  {
    name: 'vector 2',
    key: '11'.repeat(16) + '22'.repeat(16),
    number: 0x3333333333,
    plain: '44'.repeat(32),
    encrypted: 'c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0',
  },
  {
    name: 'vector 3',
    key: `fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0${'22'.repeat(16)}`,
    number: 0x3333333333,
    plain: '44'.repeat(32),
    encrypted: 'af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89',
  },
  {
    name: 'vector 10',
    key:
      '2718281828459045235360287471352662497757247093699959574966967627' +
      '3141592653589793238462643383279502884197169399375105820974944592',
    number: 0xff,
    plain: Buffer.from(Array.from({ length: 512 }, (_, index) => index & 0xff)).toString('hex'),
    // Its beginning: the rest is checked against node:crypto below.
    encrypted: '1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b',
  },
];

const MODES = [
  { name: 'aes-xts-plain64', keyBytes: [32, 64] },
  { name: 'aes-xts-plain', keyBytes: [64] },
  { name: 'aes-cbc-essiv:sha256', keyBytes: [16, 24, 32] },
  { name: 'aes-cbc-plain64', keyBytes: [32] },
  { name: 'aes-cbc-plain', keyBytes: [16] },
].flatMap(({ name, keyBytes }) => keyBytes.map((bytes) => ({ name, bytes })));

function native(name: string, key: Uint8Array, sectorBytes: number): SectorCipher {
  const cipher = NativeSectorCipher.open(cipherSpec(name, key.length), key, sectorBytes);
  assert.ok(cipher, 'the OpenSSL of Node.js can be reached');
  return cipher;
}

function plainNode(name: string, key: Uint8Array, sectorBytes: number): SectorCipher {
  return new NodeSectorCipher(cipherSpec(name, key.length), key, sectorBytes);
}

/** Encrypt from one buffer to another. */
function encrypted(cipher: SectorCipher, data: Uint8Array, number: number): Buffer {
  const source = Buffer.from(new Uint8Array(data).buffer);
  const target = Buffer.from(new ArrayBuffer(data.length));
  assert.ok(cipher.encrypt(bufferAddress(source), bufferAddress(target), data.length, number));
  assert.ok(source.equals(data), 'the source stays');
  return target;
}

for (const { name, make } of [
  { name: 'OpenSSL', make: native },
  { name: 'node:crypto', make: plainNode },
]) {
  for (const vector of VECTORS) {
    test(`${name}: ${vector.name} of IEEE 1619`, () => {
      const plain = Buffer.from(vector.plain, 'hex');
      const cipher = make('aes-xts-plain64', Buffer.from(vector.key, 'hex'), plain.length);
      const found = encrypted(cipher, plain, vector.number);
      assert.equal(found.toString('hex', 0, vector.encrypted.length / 2), vector.encrypted);
      const address = bufferAddress(found);
      assert.ok(cipher.decrypt(address, address, found.length, vector.number));
      assert.ok(found.equals(plain));
      cipher.close();
    });
  }

  test(`${name}: each sector has a number, in units of 512 bytes`, () => {
    const key = Buffer.from(Array.from({ length: 64 }, (_, index) => index));
    const data = Buffer.alloc(8192, 7);
    const number = 2 ** 32 - 8;
    const cipher = make('aes-xts-plain64', key, 4096);
    const found = encrypted(cipher, data, number);
    const iv = (low: number, high: number): Buffer => {
      const bytes = Buffer.alloc(16);
      bytes.writeUInt32LE(low, 0);
      bytes.writeUInt32LE(high, 4);
      return bytes;
    };
    const expected = [iv(2 ** 32 - 8, 0), iv(0, 1)].map((vector) =>
      createCipheriv('aes-256-xts', key, vector).update(data.subarray(0, 4096)),
    );
    assert.ok(found.equals(Buffer.concat(expected)));
    cipher.close();
  });
}

test('OpenSSL does what node:crypto does, for all modes, sizes and numbers', () => {
  const cases = fc.record({
    mode: fc.constantFrom(...MODES),
    sectorBytes: fc.constantFrom(512, 1024, 2048, 4096),
    sectors: fc.integer({ min: 1, max: 9 }),
    number: fc.oneof(fc.nat(100), fc.integer({ min: 2 ** 32 - 30, max: 2 ** 40 })),
    seed: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  });
  fc.assert(
    fc.property(cases, ({ mode, sectorBytes, sectors, number, seed }) => {
      const key = seed.slice(0, mode.bytes);
      // The halves of a key of XTS differ.
      key[0] = ~key[mode.bytes / 2];
      const data = Buffer.alloc(sectorBytes * sectors);
      for (let at = 0; at < data.length; at++) data[at] = seed[at % 64] + at * 7;
      const one = native(mode.name, key, sectorBytes);
      const other = plainNode(mode.name, key, sectorBytes);
      const found = encrypted(one, data, number);
      assert.ok(found.equals(encrypted(other, data, number)), 'encrypted');
      const address = bufferAddress(found);
      assert.ok(one.decrypt(address, address, found.length, number));
      assert.ok(found.equals(data), 'decrypted in place');
      one.close();
      other.close();
    }),
    propertyOptions(150),
  );
});

test('what is fastest is used, and says so', () => {
  const key = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
  assert.equal(openSectorCipher(cipherSpec('aes-xts-plain64', 32), key, 512).engine, 'OpenSSL');
});

test('a key of XTS with two equal halves is refused', () => {
  const spec = cipherSpec('aes-xts-plain64', 32);
  assert.throws(() => openSectorCipher(spec, Buffer.alloc(32, 1), 512), {
    code: 'DISK_FORMAT',
    message: /two equal halves/,
  });
});

test('ciphers and keys that are not supported are refused by name', () => {
  for (const name of ['serpent-xts-plain64', 'cipher_null-ecb', 'aes-xts-essiv:md5', 'aes-ecb']) {
    const expected = { code: 'DISK_FORMAT', message: new RegExp(name) };
    assert.throws(() => cipherSpec(name, 64), expected);
  }
  assert.throws(() => cipherSpec('aes-xts-plain64', 48), { message: /384 bits/ });
});
