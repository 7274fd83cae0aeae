/** The secret that opens a key slot. */
import { readFile } from 'node:fs/promises';
import { StorageError } from '../errors.ts';
import type { ParameterType } from '../plan/parameter-types.ts';

/** As in cryptsetup. */
const MAX_BYTES = 8 * 2 ** 20;

/** A passphrase that code gives: text is UTF-8. */
export type Passphrase = string | Uint8Array;

/** Where a passphrase comes from: one of them. */
export interface PassphraseSource {
  readonly passphrase?: Passphrase | undefined;
  readonly passphraseFile?: string | undefined;
}

/** For parameters of kinds. */
export const passphraseType: ParameterType<Passphrase> = {
  placeholder: 'passphrase',
  expected: 'a string or bytes, not empty',
  secret: 'others could see it on the command line: use passphrase-file',
  parse: () => undefined,
  accepts: (value) =>
    (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0,
};

/**
 * The bytes, which are the caller's to wipe. Those of a file are taken as they are, with a newline
 * at the end if there is one, as cryptsetup's --key-file does. Rejects with a `StorageError`.
 */
export async function passphraseBytes(source: PassphraseSource): Promise<Buffer> {
  const { passphrase, passphraseFile } = source;
  if ((passphrase === undefined) === (passphraseFile === undefined)) {
    throw new StorageError('DISK_OPTION', 'encrypt: expected a passphrase-file');
  }
  if (typeof passphrase === 'string') return Buffer.from(passphrase);
  if (passphrase !== undefined) return Buffer.from(passphrase);
  return readPassphrase(passphraseFile ?? '');
}

async function readPassphrase(path: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new StorageError('DISK_SECRET', `passphrase file ${path} can't be read: ${code}`);
  }
  if (bytes.length > 0 && bytes.length <= MAX_BYTES) return bytes;
  bytes.fill(0);
  const problem = bytes.length === 0 ? 'is empty' : `has more than ${MAX_BYTES} bytes`;
  throw new StorageError('DISK_SECRET', `passphrase file ${path} ${problem}`);
}
