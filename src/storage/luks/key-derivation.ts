/**
 * Keys from passphrases: PBKDF2 (RFC 8018) and Argon2 (RFC 9106), with an eye on what a header may
 * ask of us.
 */
import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { StorageError } from '../errors.ts';
import { argon2, MAX_ARGON2_KIB } from './argon2.ts';
import { hashBytes } from './hashes.ts';

/** How a key is made of a passphrase. */
export type KeyDerivation = Pbkdf2Parameters | Argon2Parameters;

/** See RFC 8018, 5.2. */
export interface Pbkdf2Parameters {
  readonly type: 'pbkdf2';
  readonly hash: string;
  readonly salt: Uint8Array;
  readonly iterations: number;
}

/** See RFC 9106, 3.1. */
export interface Argon2Parameters {
  readonly type: 'argon2i' | 'argon2id';
  readonly salt: Uint8Array;
  /** Passes over the memory. */
  readonly time: number;
  readonly memoryKib: number;
  /** Lanes. */
  readonly parallel: number;
}

/** Iterations of PBKDF2 for one opening: some minutes. cryptsetup takes a few million. */
const MAX_ITERATIONS = 500_000_000;
/**
 * KiB that Argon2 goes over for one opening: some minutes. cryptsetup goes over four times 1 GiB
 * for each key slot.
 */
const MAX_KIB_PASSED = 2 ** 27;
const MAX_PARALLEL = 64;
/** As in RFC 9106, 3.1. */
const MIN_ARGON2_SALT_BYTES = 8;

const derivePbkdf2 = promisify(pbkdf2);

/** Throws a `StorageError` DISK_FORMAT if nobody can have meant it. */
export function checkDerivation(derivation: KeyDerivation): void {
  if (derivation.type === 'pbkdf2') {
    if (derivation.iterations < 1 || derivation.iterations > MAX_ITERATIONS) {
      fail(`${derivation.iterations} iterations of PBKDF2: expected 1 to ${MAX_ITERATIONS}`);
    }
    return;
  }
  const { type, salt, time, memoryKib, parallel } = derivation;
  if (salt.length < MIN_ARGON2_SALT_BYTES) fail(`${type} with a salt of ${salt.length} bytes`);
  if (parallel < 1 || parallel > MAX_PARALLEL) {
    fail(`${type} with ${parallel} threads: expected 1 to ${MAX_PARALLEL}`);
  }
  if (memoryKib < 8 * parallel || memoryKib > MAX_ARGON2_KIB) {
    const least = 8 * parallel;
    fail(`${type} with ${memoryKib} KiB of memory: expected ${least} to ${MAX_ARGON2_KIB}`);
  }
  if (time < 1 || time * memoryKib > MAX_KIB_PASSED) {
    const most = Math.floor(MAX_KIB_PASSED / memoryKib);
    fail(`${type} with ${time} passes over ${memoryKib} KiB: expected 1 to ${most}`);
  }
}

/** Derives the keys of one opening, and refuses when that would take for ever. */
export class KeyDeriver {
  #iterations = 0;
  #kibPassed = 0;

  /** Rejects with a `StorageError` DISK_FORMAT if the header asks too much. */
  async derive(secret: Uint8Array, how: KeyDerivation, keyBytes: number): Promise<Buffer> {
    checkDerivation(how);
    if (how.type === 'pbkdf2') {
      // Each block of the hash's size takes all iterations.
      this.#iterations += how.iterations * Math.ceil(keyBytes / hashBytes(how.hash));
      if (this.#iterations > MAX_ITERATIONS) failSlots();
      return derivePbkdf2(secret, how.salt, how.iterations, keyBytes, how.hash);
    }
    this.#kibPassed += how.time * how.memoryKib;
    if (this.#kibPassed > MAX_KIB_PASSED) failSlots();
    return argon2(secret, how, keyBytes);
  }
}

function fail(problem: string): never {
  throw new StorageError('DISK_FORMAT', `LUKS: a header asks for ${problem}`);
}

function failSlots(): never {
  throw new StorageError(
    'DISK_FORMAT',
    'LUKS: to try all key slots would take many minutes: say which one it is with key-slot',
  );
}
