/**
 * Waiting for one descriptor (poll(2)).
 *
 * SAFETY: the kernel writes into mapped memory that lives as long as the process.
 */
import { Errno, SystemError } from './errors.ts';
import { lastErrno, libc } from './libc.ts';
import { Mapping } from './mapping.ts';

/** Bytes of struct pollfd: int fd, short events, short revents. */
const POLL_FD_BYTES = 8;
/** No time limit. */
export const FOREVER = -1;

const scratch = Mapping.anonymous(4096);
const descriptor = new Int32Array(scratch.view(0, POLL_FD_BYTES), 0, 1);
const events = new Uint16Array(descriptor.buffer, 4, 2);

/**
 * Whether one of the events (or an error, or a hang-up) has come within the time.
 *
 * @param timeoutMs - 0: do not wait.
 */
export function pollDescriptor(fd: number, wanted: number, timeoutMs: number): boolean {
  descriptor[0] = fd;
  events[0] = wanted;
  for (;;) {
    const result = libc.poll(scratch.address, 1, timeoutMs);
    if (result >= 0) return result === 1;
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new SystemError('poll', errno);
  }
}
