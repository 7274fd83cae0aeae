/** Anonymous files in memory (memfd_create(2)): how memory is shared with a peer process. */
import { MemFdFlag } from './constants.ts';
import { call } from './errors.ts';
import { Fd } from './fd.ts';

/** A new zeroed memory file of `sizeBytes`. `name` shows in /proc/PID/fd. */
export function createMemfd(name: string, sizeBytes: number): Fd {
  const fd = new Fd(
    call('memfd_create', name, MemFdFlag.CLOEXEC | MemFdFlag.ALLOW_SEALING),
    `memfd ${name}`,
  );
  try {
    call('ftruncate', fd.number, sizeBytes);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}
