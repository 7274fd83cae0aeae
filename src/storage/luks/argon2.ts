/**
 * Argon2 (RFC 9106): Node.js's own where it has one (24.7), else hash-wasm's in a thread of its own,
 * so that the event loop goes on and the memory is given back.
 */
import * as crypto from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { Argon2Parameters } from './key-derivation.ts';

/** What TypeScript's library does not know yet. */
interface CryptoWithArgon2 {
  readonly argon2?: (
    algorithm: string,
    parameters: {
      readonly message: Uint8Array;
      readonly nonce: Uint8Array;
      readonly parallelism: number;
      readonly tagLength: number;
      readonly memory: number;
      readonly passes: number;
    },
    callback: (error: Error | null, key: Buffer) => void,
  ) => void;
}

const native = (crypto as CryptoWithArgon2).argon2;

/** Most memory in KiB: what WebAssembly gets on all supported versions of Node.js; or 4 GiB. */
export const MAX_ARGON2_KIB: number = native === undefined ? 2 ** 21 - 2 ** 16 : 2 ** 22;

/** What the thread is to do. */
export interface Argon2Task extends Argon2Parameters {
  readonly secret: Uint8Array;
  readonly keyBytes: number;
}

/** A key of so many bytes. */
export async function argon2(
  secret: Uint8Array,
  how: Argon2Parameters,
  keyBytes: number,
): Promise<Buffer> {
  if (native === undefined) return argon2InThread({ ...how, secret, keyBytes });
  return promisify(native)(how.type, {
    message: secret,
    nonce: how.salt,
    parallelism: how.parallel,
    tagLength: keyBytes,
    memory: how.memoryKib,
    passes: how.time,
  });
}

/** The way without Node.js's own. */
export async function argon2InThread(task: Argon2Task): Promise<Buffer> {
  const worker = new Worker(new URL('./argon2-thread.js', import.meta.url), { workerData: task });
  const [key] = (await once(worker, 'message')) as [Uint8Array];
  await worker.terminate();
  return Buffer.from(key.buffer, key.byteOffset, key.length);
}
