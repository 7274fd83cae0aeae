/**
 * The removal of one file, in a form that a seccomp filter can tell from all others: by the address
 * of its path, which stays the same (see seccomp-policy.ts).
 *
 * SAFETY: the mapping with the path is never closed; it lives as long as the process.
 */
import { At } from './constants.ts';
import { SystemError } from './errors.ts';
import { lastErrno, libc } from './libc.ts';
import { Mapping } from './mapping.ts';

/** See the module's comment. */
export class FileRemoval {
  readonly path: string;
  /** Where the path is, for the filter. */
  readonly address: number;

  constructor(path: string) {
    const encoded = new TextEncoder().encode(path);
    const memory = Mapping.anonymous(encoded.length + 1);
    new Uint8Array(memory.view(0, encoded.length + 1)).set(encoded);
    this.path = path;
    this.address = memory.address;
  }

  /** Remove the file. @throws SystemError. */
  remove(): void {
    if (libc.unlinkat(At.FDCWD, this.address, 0) === 0) return;
    throw new SystemError('unlink', lastErrno(), this.path);
  }
}
