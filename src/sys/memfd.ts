/** Anonymous files in memory (memfd_create(2)): how memory is shared with a peer process. */
import { Fcntl, MemFdFlag, Seal } from './constants.ts';
import { call } from './errors.ts';
import { fcntlNumber } from './fcntl.ts';
import { Fd } from './fd.ts';

/**
 * Nobody who is sent the file can make it smaller: that would turn every access of those who have
 * it mapped into SIGBUS.
 */
export function sealSize(fd: Fd): void {
  const seals = Seal.SEAL | Seal.SHRINK | Seal.GROW;
  fcntlNumber(fd.number, Fcntl.ADD_SEALS, seals);
}

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
