/** Files with LUKS containers, made by us, whose keys are cheap to derive. */

import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { file } from '../../src/storage/index.ts';
import { type FormatLuksOptions, formatLuks } from '../../src/storage/tools.ts';
import { type CleanUp, imageFolder } from './image-folder.ts';

export const PASSPHRASE = 'correct horse';
const ITERATIONS = 1000;
/** Sizes of headers as `formatLuks` makes them. */
const HEADER_BYTES = { 1: 2 * 2 ** 20, 2: 16 * 2 ** 20 } as const;
const LUKS2_COPY_BYTES = 0x4000;
const BINARY_BYTES = 4096;

/** A container, and where it is. */
export interface LuksImage {
  readonly path: string;
  readonly dataOffset: number;
}

/** Make a container with room for so many bytes of data. */
export async function luksImage(
  t: CleanUp,
  dataBytes: number,
  options: Partial<FormatLuksOptions> & { readonly folder?: string } = {},
): Promise<LuksImage> {
  const { folder, ...rest } = options;
  const version = options.version ?? 2;
  const path = join(imageFolder(t, folder), 'image.luks');
  const dataOffset = HEADER_BYTES[version];
  const fd = openSync(path, 'w');
  ftruncateSync(fd, dataOffset + dataBytes);
  closeSync(fd);
  await formatLuks(file(path), {
    ...{ version, passphrase: PASSPHRASE, pbkdf: 'pbkdf2', iterations: ITERATIONS, ...rest },
  });
  return { path, dataOffset };
}

/** Change bytes of a file. */
export function patchFile(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** Bytes of a file. */
export function bytesOf(path: string, offset: number, length: number): Buffer {
  const fd = openSync(path, 'r');
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, offset);
  closeSync(fd);
  return bytes;
}

/** The JSON area of a LUKS2 header. */
export function luks2Json(path: string): string {
  const area = readFileSync(path).subarray(BINARY_BYTES, LUKS2_COPY_BYTES);
  return area.toString('utf8', 0, area.indexOf(0));
}

/**
 * Put another JSON area into a copy of a LUKS2 header, with a checksum that is right.
 *
 * @param copy - 0 or 1; both unless given.
 * @param sequence - added to the copy's sequence number.
 */
export function replaceLuks2Json(path: string, json: string, copy?: 0 | 1, sequence = 0): void {
  for (const each of copy === undefined ? [0, 1] : [copy]) {
    const offset = each * LUKS2_COPY_BYTES;
    const header = bytesOf(path, offset, LUKS2_COPY_BYTES);
    header.fill(0, BINARY_BYTES);
    header.write(json, BINARY_BYTES);
    header.writeBigUInt64BE(header.readBigUInt64BE(16) + BigInt(sequence), 16);
    header.fill(0, 448, 512);
    createHash('sha256').update(header).digest().copy(header, 448);
    patchFile(path, offset, header);
  }
}
