/** A thread that makes one key of a passphrase with Argon2, and ends: see `argon2.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { argon2i, argon2id } from 'hash-wasm';
import type { Argon2Task } from './argon2.ts';

const { type, secret, salt, time, memoryKib, parallel, keyBytes } = workerData as Argon2Task;
const derive = type === 'argon2i' ? argon2i : argon2id;
const key = await derive({
  password: secret,
  salt,
  iterations: time,
  parallelism: parallel,
  memorySize: memoryKib,
  hashLength: keyBytes,
  outputType: 'binary',
});
secret.fill(0);
parentPort?.postMessage(key);
