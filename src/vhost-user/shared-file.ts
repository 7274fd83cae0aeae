/** Files that a front-end sends, to be mapped. */
import { fstatSync } from 'node:fs';
import { type Fd, Mapping, SystemError } from '../sys/index.ts';
import { ProtocolError, type ProtocolErrorCode } from './errors.ts';

/** A part of such a file. */
export interface SharedPart {
  /** What it is and what its descriptor is called, for messages. */
  readonly what: string;
  readonly descriptor: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** Of the error if it cannot be mapped. */
  readonly code: ProtocolErrorCode;
}

/** Map it. The descriptor stays the caller's. @throws ProtocolError. */
export function mapSharedFile(fd: Fd, part: SharedPart): Mapping {
  const { what, descriptor, offsetBytes, sizeBytes, code } = part;
  const end = offsetBytes + sizeBytes;
  const stats = fstatSync(fd.number);
  // A page beyond the end of its file would be a fatal signal when touched.
  if (!stats.isFile() || !Number.isSafeInteger(end) || stats.size < end) {
    const file = stats.isFile() ? `a file of ${stats.size} bytes` : 'no file';
    const text = `${descriptor} is ${file}, the ${what} ends at ${end}`;
    throw new ProtocolError(code, text);
  }
  try {
    return Mapping.ofFile(fd.number, offsetBytes, sizeBytes);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new ProtocolError(code, `cannot map: ${error.message}`, { cause: error });
  }
}
