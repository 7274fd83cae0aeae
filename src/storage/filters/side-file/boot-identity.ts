/**
 * Which run of the machine this is. What a process has written is there for the next one of the same
 * run, whether it was flushed or not; after a crash of the machine it may not be.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const BOOT_IDENTITY_BYTES = 16;

let known: Buffer | undefined;

/** 16 bytes. Where the kernel does not tell, another one each time: then nothing is relied on. */
export function bootIdentity(): Buffer {
  known ??= read() ?? randomBytes(BOOT_IDENTITY_BYTES);
  return known;
}

function read(): Buffer | undefined {
  try {
    const text = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1');
    const bytes = Buffer.from(text.replace(/[^0-9a-f]/g, ''), 'hex');
    return bytes.length === BOOT_IDENTITY_BYTES ? bytes : undefined;
  } catch {
    return undefined;
  }
}
