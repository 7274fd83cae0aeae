/** Keys from passphrases and back out of stripes: known answers, and what must not be lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mergeStripes, splitKey } from '../../../../src/storage/luks/anti-forensic.ts';
import { argon2, argon2InThread } from '../../../../src/storage/luks/argon2.ts';
import { checkHash } from '../../../../src/storage/luks/hashes.ts';
import { KeyDeriver } from '../../../../src/storage/luks/key-derivation.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const HASHES = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160'];

/** Of the reference implementation's tests, for "password" and "somesalt". */
const ARGON2_ANSWERS = {
  argon2i: 'c1628832147d9720c5bd1cfd61367078729f6dfb6f8fea9ff98158e0d7816ed0',
  argon2id: '09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7',
} as const;

for (const type of ['argon2i', 'argon2id'] as const) {
  test(`${type}: the known answer, by whichever way`, async () => {
    const secret = Buffer.from('password');
    const salt = Buffer.from('somesalt');
    const how = { type, salt, time: 2, memoryKib: 65536, parallel: 1 };
    const found = await argon2(secret, how, 32);
    assert.equal(found.toString('hex'), ARGON2_ANSWERS[type]);
    const inThread = await argon2InThread({ ...how, secret, keyBytes: 32 });
    assert.equal(inThread.toString('hex'), ARGON2_ANSWERS[type]);
  });
}

test('PBKDF2: the known answer', async () => {
  // RFC 6070, 2.
  const salt = Buffer.from('salt');
  const how = { type: 'pbkdf2', hash: 'sha1', salt, iterations: 4096 } as const;
  const found = await new KeyDeriver().derive(Buffer.from('password'), how, 20);
  assert.equal(found.toString('hex'), '4b007901b765489abead49d926f721d065a429c1');
});

test('all key slots together may not take for ever', async () => {
  const deriver = new KeyDeriver();
  const salt = Buffer.alloc(32);
  const how = { type: 'pbkdf2', hash: 'sha1', salt, iterations: 400_000 } as const;
  await deriver.derive(Buffer.from('x'), how, 20);
  const more = { ...how, iterations: 499_700_000 };
  await assert.rejects(deriver.derive(Buffer.from('x'), more, 20), { code: 'DISK_FORMAT' });
});

const bytesOf = (length: number) => ({ minLength: length, maxLength: length });

test('a key that was split is merged, with all of its stripes', () => {
  const cases = fc.record({
    // A hash is of 20 to 64 bytes: keys that leave a short rest are the same by chance.
    key: fc.constantFrom(16, 32, 64).chain((length) => fc.uint8Array(bytesOf(length))),
    stripes: fc.integer({ min: 1, max: 40 }),
    hash: fc.constantFrom(...HASHES),
    damaged: fc.nat(),
  });
  fc.assert(
    fc.property(cases, ({ key, stripes, hash, damaged }) => {
      const material = splitKey(key, stripes, hash);
      assert.ok(mergeStripes(material, key.length, stripes, hash).equals(key));
      if (stripes > 1)
        assert.ok(!material.subarray(0, key.length).equals(Buffer.alloc(key.length)));
      material[damaged % material.length] ^= 1;
      assert.ok(!mergeStripes(material, key.length, stripes, hash).equals(key));
    }),
    propertyOptions(100),
  );
});

test('hashes that are not known are refused by name', () => {
  for (const name of HASHES) assert.equal(checkHash(name), name);
  for (const name of ['md5', 'whirlpool', '', 'sha256\n']) {
    assert.throws(() => checkHash(name), { code: 'DISK_FORMAT' });
  }
});
